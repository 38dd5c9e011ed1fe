// Package strangers holds tests only: programs that were written for AWS, and
// know nothing of Dormouse, judge the local EC2 endpoint. They are the AWS CLI,
// boto3, and a Buildbot master whose own EC2LatentWorker starts, uses and
// terminates instances of the endpoint on which Debian's buildbot-worker runs.
//
// The programs are Debian's packages (see internal/peers/install.sh), run by the
// system's Python, against an endpoint on a loopback address of this machine.
// A test is skipped where its program is missing; where CI is true it fails.
package strangers
