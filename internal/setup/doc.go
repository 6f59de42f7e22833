// Package setup changes a Postfix configuration so that Postfix asks postfleet, and back again.
//
// It works on a scratch copy of main.cf and master.cf through postconf(1), Postfix's own editor, so that comments and
// layout stay; shows the difference; and replaces the files only when Postfix takes the result. Nothing that it finds is
// lost: a list of milters or maps gets one more element, and undoing takes that element out again, whatever else has
// changed in between. It keeps no memory of its own: what is postfleet's is known by its name.
package setup
