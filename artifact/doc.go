// Package artifact keeps the files of builds on the master's disk.
//
//	BASE/artifacts/BUILDER/NUMBER/PATH   what a build has kept
//	BASE/artifacts/.incoming/RANDOM/     what is on the way
//
// # Whole or not at all
//
// A file is received into a directory of its own, synced, and renamed into its
// place once all of it is there. Then the caller stores its row, and only what
// has a row is shown to anybody:
//
//	Begin ── File or Directory ── (the last byte is in) ── Publish ── rows durable
//	   └──────────── anything fails ──────────▶ Discard: nothing is left
//
// Where the disk has no room, Upload.Hold's function has the write repeated: the
// worker waits, as it does for a store that is full.
//
// What a master that ended in between has left in .incoming is removed when the
// next one opens the store.
//
// # What comes from a worker is not trusted
//
// A build's code runs on the worker, so that an archive, a name in it and a link
// in it may be anything. Nothing is written through a link or outside of the
// upload's own directory (os.Root); names that leave it, devices, and links that
// lead out are an error that ends the upload. A link within it to a file becomes
// a file of the same content; one to a directory is left out, and named.
//
// Names are bytes on a worker and text here: a byte that is not UTF-8 is written
// %XX.
package artifact
