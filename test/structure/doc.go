// Package structure holds the dependency rule of docs/architecture.md: imports go inward only. It has tests and nothing
// else.
package structure
