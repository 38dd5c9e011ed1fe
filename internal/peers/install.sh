#!/bin/sh
# Installs, where it may, the programs that tests talk to, and says which tests
# are left out without them. With CI=true leaving any out fails.
set -u

missing=
need() { # need FILE PACKAGE WHAT-IT-IS-FOR
	for f in $1; do
		[ -x "$f" ] && return 0
	done
	missing="$missing $2"
	lacking="$lacking  $2: $3
"
}

look() {
	missing= lacking=
	need /usr/bin/git git "checkouts, the demo"
	need /usr/bin/buildbot buildbot "our agent on a stock Buildbot master; its EC2 workers on our endpoint"
	need /usr/bin/buildbot-worker buildbot-worker "a stock worker on our master"
	need /usr/bin/shellcheck shellcheck "the script that installs the agent, read by a linter"
	need '/usr/bin/systemd-analyze' systemd "the units that the script installs, read by systemd"
	need /usr/bin/aws awscli "the AWS CLI on our endpoint"
	need /usr/lib/python3/dist-packages/boto3 python3-boto3 "boto3, and Buildbot by it, on our endpoint"
	need '/usr/lib/postgresql/*/bin/initdb' postgresql "the store on PostgreSQL"
}

look
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	log=$(mktemp)
	if apt-get update >"$log" 2>&1 &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >>"$log" 2>&1; then
		rm -f "$log"
	else
		tail -n 20 "$log"
	fi
	look
	[ -z "$missing" ] && exit 0
fi

echo "These packages are missing, and the tests that need them are left out:"
printf '%s' "$lacking"
echo "To run them too:  sudo apt-get install$missing"
[ "${CI:-}" = true ] && exit 1
exit 0
