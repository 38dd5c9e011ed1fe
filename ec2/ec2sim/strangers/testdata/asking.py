"""What the scripts here share: boto3 with the endpoint in the first argument to
ask, the image in the second to launch, and how to judge its answers. A script
ends with an exception where the endpoint does not do as EC2 does."""

import sys

import boto3
from botocore.exceptions import ClientError

endpoint, image = sys.argv[1:]
session = boto3.session.Session()
ec2 = session.resource("ec2", endpoint_url=endpoint)
client = ec2.meta.client
zone = session.region_name + "a"
# How a waiter waits: its own pace is of minutes.
often = {"Delay": 1, "MaxAttempts": 100}


def equal(got, want):
    assert got == want, "got %r, want %r" % (got, want)


def refused(code, call, **parameters):
    """Returns the error that a call must end with."""
    try:
        call(**parameters)
    except ClientError as e:
        equal(e.response["Error"]["Code"], code)
        assert e.response["ResponseMetadata"]["RequestId"], "an error without a request id"
        return e.response
    raise AssertionError("it was not refused with " + code)
