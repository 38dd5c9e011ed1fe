"""Addresses and volumes, which outlive the instance that has them."""

from asking import client, ec2, equal, image, often, refused, session, zone

instances = ec2.create_instances(
    ImageId=image, InstanceType="t3.micro", MinCount=2, MaxCount=2, Placement={"AvailabilityZone": zone})
for instance in instances:
    instance.wait_until_running(WaiterConfig=often)
first, second = instances

# An address is lent, not stolen, and is the instance's own meanwhile.
address = ec2.VpcAddress(client.allocate_address(Domain="vpc")["AllocationId"])
association = address.associate(InstanceId=first.id, AllowReassociation=False)["AssociationId"]
first.reload()
equal(first.public_ip_address, address.public_ip)
refused("Resource.AlreadyAssociated", address.associate, InstanceId=second.id, AllowReassociation=False)
refused("InvalidIPAddress.InUse", address.release)
address.reload()
equal((address.instance_id, address.association_id), (first.id, association))
address.association.delete()
address.reload()
equal(address.association_id, None)
first.reload()
assert first.public_ip_address != address.public_ip, "it kept the address"
gone = address.public_ip
address.release()
refused("InvalidAddress.NotFound", client.describe_addresses, PublicIps=[gone])
refused("InvalidAllocationID.NotFound", client.describe_addresses, AllocationIds=["eipalloc-0123456789abcdef0"])

# A volume has one instance at a time, in its own zone, and outlives it.
volume = ec2.create_volume(AvailabilityZone=zone, Size=3, VolumeType="gp3")
client.get_waiter("volume_available").wait(VolumeIds=[volume.id], WaiterConfig=often)
volume.attach_to_instance(InstanceId=first.id, Device="/dev/sdh")
client.get_waiter("volume_in_use").wait(VolumeIds=[volume.id], WaiterConfig=often)
refused("VolumeInUse", volume.attach_to_instance, InstanceId=second.id, Device="/dev/sdh")
refused("VolumeInUse", volume.delete)
first.reload()
equal([d["Ebs"]["VolumeId"] for d in first.block_device_mappings if d["DeviceName"] == "/dev/sdh"], [volume.id])
volume.detach_from_instance(InstanceId=first.id)
client.get_waiter("volume_available").wait(VolumeIds=[volume.id], WaiterConfig=often)
volume.attach_to_instance(InstanceId=second.id, Device="/dev/sdi")
elsewhere = ec2.create_volume(AvailabilityZone=session.region_name + "b", Size=1)
client.get_waiter("volume_available").wait(VolumeIds=[elsewhere.id], WaiterConfig=often)
refused("InvalidVolume.ZoneMismatch", elsewhere.attach_to_instance, InstanceId=first.id, Device="/dev/sdj")

for instance in instances:
    instance.terminate()
for instance in instances:
    instance.wait_until_terminated(WaiterConfig=often)
client.get_waiter("volume_available").wait(VolumeIds=[volume.id], WaiterConfig=often)
# What the launch made has ended with it, what was there before has not.
equal(sorted(v.id for v in ec2.volumes.all()), sorted([volume.id, elsewhere.id]))
volume.delete()
refused("InvalidVolume.NotFound", client.describe_volumes, VolumeIds=[volume.id])
