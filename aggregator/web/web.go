// Package web holds what the browser pages are made of: templates, style sheet, scripts and the two vendored libraries.
// Everything is embedded as it lies here; there is no build step.
package web

import "embed"

// Files are templates/*.html and static/**.
//
//go:embed templates static
var Files embed.FS
