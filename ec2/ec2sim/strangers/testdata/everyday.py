"""What a script with boto3 does every day."""

from asking import client, ec2, endpoint, equal, image, often, refused, session

# Who am I?
equal(session.client("sts", endpoint_url=endpoint).get_caller_identity()["Account"], "123456789012")

# Images.
equal([i.id for i in ec2.images.filter(Owners=["self"], Filters=[{"Name": "image-id", "Values": [image]}])], [image])
equal(ec2.Image(image).state, "available")
refused("InvalidAMIID.NotFound", client.describe_images, ImageIds=["ami-01234567"])

# A launch, and its life.
request = {
    "ImageId": image, "InstanceType": "t3.small", "MinCount": 2, "MaxCount": 2,
    "UserData": "#!/bin/sh\necho up\nexec sleep 1000\n",
    "ClientToken": "boto3-1",
    "InstanceInitiatedShutdownBehavior": "terminate",
    "BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5, "DeleteOnTermination": True}}],
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "h\u00e9llo <&> w\u00f6rld"}]}],
}
equal(refused("DryRunOperation", ec2.create_instances, DryRun=True, **request)["ResponseMetadata"]["HTTPStatusCode"], 412)
instances = ec2.create_instances(**request)
equal(len(instances), 2)
equal([i.id for i in ec2.create_instances(**request)], [i.id for i in instances])
refused("IdempotentParameterMismatch", ec2.create_instances, **dict(request, InstanceType="t3.micro"))
first = instances[0]
equal(first.state["Name"], "pending")
for instance in instances:
    instance.wait_until_running(WaiterConfig=often)
first.reload()
equal(first.state, {"Code": 16, "Name": "running"})
equal(first.tags, [{"Key": "Name", "Value": "h\u00e9llo <&> w\u00f6rld"}])
equal(first.placement["AvailabilityZone"][:-1], session.region_name)
assert first.launch_time.tzinfo is not None and first.public_ip_address and first.private_dns_name, "no time, address or name"
equal([d["DeviceName"] for d in first.block_device_mappings], ["/dev/sda1", "/dev/sdb"])
equal(first.image.id, image)
equal([g["GroupName"] for g in first.security_groups], ["default"])
equal(client.describe_instances(InstanceIds=[first.id])["Reservations"][0]["OwnerId"], "123456789012")
first.create_tags(Tags=[{"Key": "stage", "Value": "two"}, {"Key": "empty", "Value": ""}])
first.reload()
equal({t["Key"]: t["Value"] for t in first.tags}, {"Name": "h\u00e9llo <&> w\u00f6rld", "stage": "two", "empty": ""})

# Collections, filters and pages.
one = ec2.create_instances(ImageId=image, MinCount=5, MaxCount=5, InstanceType="t3.nano")
mine = sorted(i.id for i in one)
equal(sorted(i.id for i in ec2.instances.filter(Filters=[{"Name": "instance-type", "Values": ["t3.nano"]}])), mine)
equal(len(list(ec2.instances.limit(3))), 3)
pages = list(client.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
equal([sum(len(r["Instances"]) for r in p["Reservations"]) for p in pages], [5, 2])
seen = [i["InstanceId"] for p in pages for r in p["Reservations"] for i in r["Instances"]]
equal(sorted(seen), sorted(mine + [i.id for i in instances]))

# Refusals.
unknown = "i-0123456789abcdef0"
equal(refused("InvalidInstanceID.NotFound", ec2.Instance(unknown).load)["Error"]["Message"], "The instance ID '%s' does not exist" % unknown)
refused("InvalidInstanceID.Malformed", ec2.Instance("nonsense").terminate)
refused("InvalidKeyPair.NotFound", ec2.create_instances, ImageId=image, MinCount=1, MaxCount=1, KeyName="none")
refused("InvalidGroup.NotFound", client.describe_security_groups, GroupNames=["none"])
refused("InvalidParameterValue", ec2.create_instances, ImageId=image, MinCount=1, MaxCount=1, InstanceType="t9.huge")
refused("InvalidParameterValue", client.describe_instances, Filters=[{"Name": "nonsense", "Values": ["x"]}])
refused("InvalidParameterCombination", client.describe_instances, InstanceIds=[first.id], MaxResults=5)

# The end.
for instance in instances:
    state = instance.terminate()["TerminatingInstances"][0]
    equal((state["PreviousState"]["Name"], state["CurrentState"]["Name"]), ("running", "shutting-down"))
    equal(instance.terminate()["TerminatingInstances"][0]["InstanceId"], instance.id)
ec2.instances.filter(InstanceIds=mine).terminate()
for instance in instances + one:
    instance.wait_until_terminated(WaiterConfig=often)
first.reload()
equal(first.state_reason["Code"], "Client.UserInitiatedShutdown")
equal(first.public_ip_address, None)
equal(len(list(ec2.instances.filter(Filters=[{"Name": "instance-state-name", "Values": ["terminated"]}]))), 7)
