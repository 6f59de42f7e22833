// Package diagnose looks, from a node itself, at whatever decides whether other servers take its mail: DNS, reputation,
// signatures, Postfix's settings, the host. Each check is a file and a line of the table in table.go.
//
// A check never guesses. What could not be asked, or was answered by somebody who can't be trusted, is fleet.GradeUnknown,
// "could not tell": neither a pass that lulls nor an alarm that is the resolver's fault. The package asks the network, and
// nothing of the project: what is known of the node comes in as [Facts].
package diagnose
