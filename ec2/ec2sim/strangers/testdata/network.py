"""Zones, subnets and groups."""

from asking import client, ec2, equal, image, often, refused

(vpc,) = ec2.vpcs.filter(Filters=[{"Name": "is-default", "Values": ["true"]}])
assert vpc.is_default
zones = sorted(z["ZoneName"] for z in client.describe_availability_zones()["AvailabilityZones"])
subnets = {s.availability_zone: s for s in vpc.subnets.all()}
equal(sorted(subnets), zones)
last = subnets[zones[-1]]
equal((last.state, last.vpc_id, last.default_for_az), ("available", vpc.id, True))
refused("InvalidSubnetID.NotFound", client.describe_subnets, SubnetIds=["subnet-0123456789abcdef0"])

group = ec2.create_security_group(GroupName="inside", Description="for a script", VpcId=vpc.id)
refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="inside", Description="again", VpcId=vpc.id)
equal([g.id for g in ec2.security_groups.filter(Filters=[{"Name": "group-name", "Values": ["inside"]}])], [group.id])

launch = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
(instance,) = ec2.create_instances(SubnetId=last.id, SecurityGroupIds=[group.id], **launch)
equal((instance.subnet_id, instance.vpc_id, instance.placement["AvailabilityZone"]), (last.id, vpc.id, zones[-1]))
equal(instance.security_groups, [{"GroupName": "inside", "GroupId": group.id}])
# A name is of a group in the default VPC; a subnet wants ids.
refused("InvalidParameterCombination", ec2.create_instances, SubnetId=last.id, SecurityGroups=["inside"], **launch)
refused("InvalidParameterValue", ec2.create_instances, SubnetId=last.id, Placement={"AvailabilityZone": zones[0]}, **launch)
instance.wait_until_running(WaiterConfig=often)
instance.terminate()
instance.wait_until_terminated(WaiterConfig=often)
