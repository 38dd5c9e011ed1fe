package storetest

import (
	"database/sql"
	_ "embed" // for the dump
	"testing"
)

// runningBuild is a store at schema version 8, dumped by sqlite3. It was written by
// a master that was killed, and so was its worker: build b/1 has ended, b/2 is at
// its last step, request 3 waits, and request 4 was cancelled. It is never made
// anew: what such a master wrote has to open for ever.
//
//go:embed testdata/running-build.sql
var runningBuild string

// RunningBuildSteps is how the configuration of that master defines the builder's
// steps, with the names that it imports.
const RunningBuildSteps = `
f = util.BuildFactory()
f.addStep(steps.SetProperty(property='colour', value='blue'))
f.addStep(steps.ShellCommand(name='compile', command=['/bin/sh', '-c', 'echo one; echo two']))
f.addStep(steps.ShellCommand(name='test', command=['/bin/sh', '-c', 'echo three; while test ! -e gate; do sleep 0.1; done; echo four']))
`

// WriteRunningBuild makes, by a connection to an empty SQLite database, a store in
// which a build runs. Its lease has ended.
func WriteRunningBuild(t *testing.T, db *sql.DB) {
	t.Helper()
	db.SetMaxOpenConns(1) // the dump begins a transaction, and ends it
	for _, text := range []string{runningBuild, `UPDATE lease SET expires_at = 1`} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	check(t, db.Close())
}
