// Package dormouse is the language of the domain: what a build master with
// latent EC2 workers talks about. It imports the standard library alone, holds
// no behaviour that needs I/O, and every other package of the module speaks in
// its terms.
//
// The words are Buildbot's and EC2's. A change, a clock or a person makes a
// [BuildRequest]; the master turns it into a [Build] on a worker; a build runs
// [Step]s, each of which writes [Log]s. A latent worker is backed by an
// [Instance] that exists only while there is work: each time it is
// substantiated a new [Generation] begins, and a [LaunchAttempt] is the one
// call to EC2 that may have started an instance for it.
package dormouse
