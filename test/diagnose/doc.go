// Package diagnose shows every check of the outbound diagnostics pass on a good set-up, and fail with the right advice on each
// fault that it is for: against a real BIND, real Postfix instances, full file systems, and resolvers that are slow, lie or
// are gone.
package diagnose
