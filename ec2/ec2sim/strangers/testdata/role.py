"""A role that is assumed, and what its credentials may be used for."""

import boto3
from asking import endpoint, equal, refused, session

sts = session.client("sts", endpoint_url=endpoint)
role = "arn:aws:iam::123456789012:role/ci"
assumed = sts.assume_role(RoleArn=role, RoleSessionName="script", ExternalId="script")
keys = assumed["Credentials"]
equal(assumed["AssumedRoleUser"]["Arn"], "arn:aws:sts::123456789012:assumed-role/ci/script")
inside = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
equal(inside.client("sts", endpoint_url=endpoint).get_caller_identity()["Arn"], "arn:aws:sts::123456789012:assumed-role/ci/script")
equal(inside.client("ec2", endpoint_url=endpoint).describe_instances()["Reservations"], [])
# Without its token the key is none.
outside = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"])
refused("AuthFailure", outside.client("ec2", endpoint_url=endpoint).describe_instances)
