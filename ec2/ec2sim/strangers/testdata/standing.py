"""An instance that is stopped and started again, and what describes it."""

from asking import client, ec2, equal, image, often, refused

(instance,) = ec2.create_instances(
    ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1,
    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "standing"}, {"Key": "old", "Value": "x"}]}])
instance.wait_until_running(WaiterConfig=often)
(status,) = client.describe_instance_status(InstanceIds=[instance.id])["InstanceStatuses"]
equal((status["InstanceId"], status["InstanceState"]["Name"]), (instance.id, "running"))

(change,) = instance.stop()["StoppingInstances"]
equal((change["PreviousState"]["Name"], change["CurrentState"]["Name"]), ("running", "stopping"))
instance.wait_until_stopped(WaiterConfig=often)
instance.reload()
equal((instance.state["Name"], instance.public_ip_address), ("stopped", None))
# Only what runs has a status, unless all are asked for.
equal(client.describe_instance_status(InstanceIds=[instance.id])["InstanceStatuses"], [])
(status,) = client.describe_instance_status(InstanceIds=[instance.id], IncludeAllInstances=True)["InstanceStatuses"]
equal(status["InstanceState"]["Name"], "stopped")
(change,) = instance.start()["StartingInstances"]
equal((change["PreviousState"]["Name"], change["CurrentState"]["Name"]), ("stopped", "pending"))
instance.wait_until_running(WaiterConfig=often)

# Tags, by themselves.
instance.create_tags(Tags=[{"Key": "new", "Value": ""}])
client.delete_tags(Resources=[instance.id], Tags=[{"Key": "old"}])
tags = client.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance.id]}])["Tags"]
equal(sorted((t["ResourceType"], t["Key"], t["Value"]) for t in tags), [("instance", "Name", "standing"), ("instance", "new", "")])

instance.terminate()
instance.wait_until_terminated(WaiterConfig=often)
refused("IncorrectInstanceState", instance.start)
