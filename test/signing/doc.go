// Package signing proves that signatures made through a real Postfix verify at the far end. Its tests send awkward messages
// through a private Postfix instance with the milter, take them at a sink that keeps every byte, and have OpenDKIM, dkimpy and
// go-msgauth verify them.
package signing
