// Package advice turns what a server, or Postfix itself, said about a mail that wasn't delivered into words for the
// administrator: what it means and what to do next.
//
// The knowledge is in files, those of the directory data in the binary and those of the site: see [Parse] for their form.
// The package decides nothing about mail, asks nobody, and treats every reply as the hostile text that it is.
package advice
