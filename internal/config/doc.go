// Package config reads the two configuration files: milter.yaml of the node daemon and aggregator.yaml of the
// aggregator. Each is one struct, whose defaults are one value, so that an empty file is a working configuration on a
// Debian host with Postfix.
//
// Reading is strict. A key that doesn't exist, a value that doesn't fit and a combination that can't work are errors
// that name file, line and key and say what was expected; all of them are reported at once. Nothing here opens a
// socket, a key or a certificate: that is up to whoever uses the values.
package config
