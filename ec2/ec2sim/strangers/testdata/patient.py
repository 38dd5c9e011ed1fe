"""A launch at the endpoint in the first argument, of the image in the second,
by a client that does not know that the endpoint misbehaves. It prints how often
it had to call again, and what it launched."""

import sys

import boto3

endpoint, image = sys.argv[1:]
client = boto3.session.Session().client("ec2", endpoint_url=endpoint)
answer = client.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
print(answer["ResponseMetadata"]["RetryAttempts"], *[i["InstanceId"] for i in answer["Instances"]])
