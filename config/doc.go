// Package config reads master.star: Starlark with Buildbot's names, turned
// into typed and validated values.
//
// # The language
//
// A configuration is a Starlark program that fills the dictionary
// BuildmasterConfig, usually under its short name c. So that a Buildbot user's
// text works as it stands, package [dialect] understands a few forms of Python
// that Starlark does not have, and says of the others what to write instead. This
// package is what it is told of Buildbot: the modules that have a meaning here
// (buildbot.plugins and the older places of the same classes, boto3, os for
// os.environ), the classes in them, and what a comparison means of which one side
// is known only when a build runs.
//
// # The stages of reading
//
//	source ── dialect.Parse ──▶ program
//	   one error ends it: form of Python that is not known, missing comma, syntax
//	program ── Execute ──▶ objects, each knowing where each of its arguments stands
//	   one error ends it: an evaluation error, too many steps, too long, too much memory
//	objects ── validate ──▶ Master
//	   all errors are collected, and reported sorted by position
//
// A constructor such as worker.EC2LatentWorker never fails while the program
// runs: it keeps its arguments and finds their places in the syntax tree by the
// position of the call. Values are judged after the program has ended, which
// is also when a list that was appended to later is complete. A value that
// came through a variable is reported at the argument that uses it, one that
// came through *args or **kwargs at the call.
//
// # Classes
//
// Each word that constructs something is a class: one value with its parameters, its
// reader, the list where it stands, and for what is not here the advice of
// docs/buildbot.md. It registers itself, and modules, imports and messages follow. So
// a new step is a register(&class{…}) beside the function that reads its arguments,
// in one file; one file of package build does what that returns. A name of Buildbot
// that is only known is a line of elsewhere.go until then.
//
// # Functions
//
// util.renderer, util.Transform, doStepIf, hideStepIf, extract_fn and the functions
// of a builder that choose among requests are called when builds run. Once the
// configuration is evaluated all its values are frozen, so that any goroutine may
// call them; a call has a limit of steps and of time, no effects, and a reader of
// its own for what it constructs. A failure is a [expr.FunctionError] with the
// calls that led to it. A decorator @util.renderer is rewritten: a def, and an
// assignment of what the decorator makes of it.
//
// # Listening addresses
//
// A port is a number, 'tcp:PORT:interface=ADDRESS', or with a certificate
// 'ssl:PORT:privateKey=FILE:certKey=FILE', for which tls_certificate and tls_key
// beside it are another way. Files of certificates are looked at while reading. Without an interface,
// c['www'] listens on the loopback interface alone, and c['protocols'], which
// workers on other machines must reach, on all of them. Without c['protocols']
// workers are awaited on 127.0.0.1:9989.
//
// # Workers on EC2
//
// docs/ec2.md has every parameter of EC2LatentWorker with its rule and its
// default, and a test compares them. Other tests hold that each parameter
// refuses a value of a wrong type and one that cannot be, and that the examples
// of Buildbot's page load and send the launches that they describe. What only
// EC2 knows (whether an image exists, whether a zone has a type) is not asked
// here: reading a configuration calls nobody.
//
// # Secrets
//
// util.Secret('name') is the content of the file name in the directory secrets
// beside the configuration, or of the environment variable
// DORMOUSE_SECRET_NAME. A file that others may read is refused. Passwords, secret keys and user data are never part of
// an error.
package config
