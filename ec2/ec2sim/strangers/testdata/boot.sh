#!/bin/sh
# User data of an instance that serves a Buildbot master; the names in braces
# are filled in by the master's configuration.
/usr/bin/buildbot-worker create-worker --protocol=msgpack_experimental_v7 \
	"$HOME/worker" {master} {name} {password} &&
	exec /usr/bin/buildbot-worker start --nodaemon "$HOME/worker"
