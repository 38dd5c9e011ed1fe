package config

import (
	"cmp"
	"strings"

	"go.starlark.net/syntax"
)

// SampleOptions fill in the sample configuration. What is empty becomes an
// example that loads, and that the user replaces.
type SampleOptions struct {
	Password string // that the worker attaches with
	AMI      string
	RepoURL  string
	Command  string // run by a shell in the checkout
	// EndpointURL is of an EC2 endpoint other than AWS, such as the local one,
	// with the keys for it. Workers are then awaited on loopback alone.
	EndpointURL     string
	AccessKeyID     string
	SecretAccessKey string
}

// Sample is a small, commented configuration to begin with.
func Sample(o SampleOptions) string {
	port, session, argument := "9989", "", ""
	if o.EndpointURL != "" {
		port = "'tcp:9989:interface=127.0.0.1'"
		session = `
# Where EC2 is: an endpoint other than AWS, and the keys for it.
session = boto3.session.Session(
    region_name='us-east-1',
    endpoint_url=` + literal(o.EndpointURL) + `,
    aws_access_key_id=` + literal(o.AccessKeyID) + `,
    aws_secret_access_key=` + literal(o.SecretAccessKey) + `,
)
`
		argument = "\n        session=session,"
	}
	imports := "from buildbot.plugins import schedulers, steps, util, worker\n"
	if session != "" {
		imports = "import boto3\n" + imports
	}
	return strings.NewReplacer(
		"@imports\n", imports, "@port", port, "@session\n", session, "\n@argument", argument,
		"@password", literal(cmp.Or(o.Password, "change-me")),
		"@ami", literal(cmp.Or(o.AMI, "ami-12345678")),
		"@repo", literal(cmp.Or(o.RepoURL, "https://github.com/octocat/Hello-World.git")),
		"@command", literal(cmp.Or(o.Command, "ls -l && echo it works")),
	).Replace(sampleText)
}

// literal writes a string as Starlark does.
func literal(s string) string { return syntax.Quote(s, false) }

const sampleText = `# The configuration of a Dormouse master: Starlark, with Buildbot's names.
# Check it with: dormouse checkconfig master.star

@imports

c = BuildmasterConfig = {}

c['title'] = 'Dormouse'
c['buildbotURL'] = 'http://localhost:8010/'  # where people and links find this master

# The REST API. A port alone listens on this machine only;
# 'tcp:8010:interface=0.0.0.0' opens it to the network.
c['www'] = {'port': 8010}

# Where workers attach. They come from other machines, so a port alone listens
# on all interfaces. With 'tls_certificate': 'tls.crt', 'tls_key': 'tls.key'
# beside it nobody reads on the way what builds print (docs/network.md).
c['protocols'] = {'msgpack_experimental_v7': {'port': @port}}

# State is kept in a file beside this one, unless this says otherwise:
# c['db'] = {'db_url': 'postgresql://user@host/database'}

# What instances may cost together, in US dollars: beyond it, launches wait.
# c['budget'] = {'per_hour': 5, 'per_day': 40}
@session

# A latent worker: its instance is started when there is work, and terminated
# when there has been none for build_wait_timeout seconds.
c['workers'] = [
    worker.EC2LatentWorker(
        'linux', @password, 'm5.large',
        ami=@ami,  # an image that runs "dormouse worker --from-user-data" when it boots
        # Tells the worker where its master is, and who it is itself.
        user_data=util.Interpolate('\n'.join([
            'DORMOUSE_MASTER=%(worker:master)s',
            'DORMOUSE_WORKER_NAME=%(worker:name)s',
            'DORMOUSE_WORKER_PASSWORD=%(worker:secret)s',
        ])),
        build_wait_timeout=10 * 60,
@argument
        # Credentials come from the environment, ~/.aws/credentials or the
        # machine's role, unless identifier and secret_identifier are given.
        # region='eu-central-1',
        # keypair_name='dormouse',
        # security_name='dormouse',
        # spot_instance=True, max_spot_price=0.09,
    ),
]

# What a build does, step by step.
factory = util.BuildFactory([
    steps.Git(repourl=@repo, mode='incremental'),
    steps.ShellCommand(name='test', command=@command, haltOnFailure=True),
])

c['builders'] = [
    util.BuilderConfig(name='example', workernames=['linux'], factory=factory),
]

# Who may start builds by hand: dormouse force example
c['schedulers'] = [
    schedulers.ForceScheduler(name='force', builderNames=['example']),
]
`
