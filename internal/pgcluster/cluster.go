// Package pgcluster runs a PostgreSQL server of the caller's own: on a unix
// socket in a temporary directory, without TCP and without flushing, gone with
// Stop. It is for tests.
package pgcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Cluster is a server that runs.
type Cluster struct {
	bin, dir string
	account  *syscall.Credential // whom the server runs as; nil for us
}

// ErrMissing is in the chain of what Start returns where no server is installed.
var ErrMissing = errors.New("PostgreSQL's server is not installed")

// connections that the server takes: those of many masters at a time, and the
// ones that a test has made half-open.
const connections = "400"

// Start makes and starts a server. PostgreSQL refuses to run as root, so root
// runs it as the user "postgres".
func Start(ctx context.Context) (*Cluster, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return nil, ErrMissing
	}
	c := &Cluster{bin: filepath.Dir(slices.Max(found))}
	if os.Geteuid() == 0 {
		account, err := credential("postgres")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
		c.account = account
	}
	// Not below a test's own directory, which may be too deep for the 107 bytes
	// of a socket's path, and closed to the server's user.
	dir, err := os.MkdirTemp("/tmp", "dormouse-pg-")
	if err != nil {
		return nil, err
	}
	c.dir = dir
	if c.account != nil {
		if err := os.Chown(dir, int(c.account.Uid), int(c.account.Gid)); err != nil {
			return nil, errors.Join(err, c.remove())
		}
	}
	err = c.run(ctx, "initdb", "--pgdata", c.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	if err == nil {
		// Without flushing, which nothing here is about.
		err = c.run(ctx, "pg_ctl", "start", "--wait", "--pgdata", c.data(), "--log", filepath.Join(dir, "log"),
			"--options", "-c listen_addresses='' -c fsync=off -c max_connections="+connections+" -c unix_socket_directories="+dir)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// run runs one of PostgreSQL's programs. Its output goes to a file, not a pipe,
// which the server that pg_ctl leaves behind would hold open.
func (c *Cluster) run(ctx context.Context, program string, args ...string) error {
	out, err := os.CreateTemp(c.dir, program+"-*.out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account}
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", program, err, bytes.TrimSpace(text))
	}
	return nil
}

// Stop ends the server, and removes all that it had.
func (c *Cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(c.run(ctx, "pg_ctl", "stop", "--pgdata", c.data(), "--mode", "immediate"), c.remove())
}

func (c *Cluster) remove() error { return os.RemoveAll(c.dir) }

// Create makes an empty database.
func (c *Cluster) Create(ctx context.Context, database string) error {
	return c.run(ctx, "createdb", "--host", c.dir, "--username", "postgres", database)
}

// Drop removes a database, whoever is connected to it.
func (c *Cluster) Drop(ctx context.Context, database string) error {
	return c.run(ctx, "dropdb", "--force", "--host", c.dir, "--username", "postgres", database)
}

// URL is the address of a database, by the server's socket.
func (c *Cluster) URL(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {c.dir}, "user": {"postgres"}}.Encode()
}

// Socket is the path of the server's socket.
func (c *Cluster) Socket() string { return filepath.Join(c.dir, ".s.PGSQL.5432") }
