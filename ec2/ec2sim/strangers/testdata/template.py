"""Launches of what a launch template says, and an image of one's own."""

from asking import client, ec2, equal, image, often, refused

made = client.create_launch_template(LaunchTemplateName="builds", LaunchTemplateData={
    "ImageId": image, "InstanceType": "t3.small",
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}],
})["LaunchTemplate"]
equal((made["LaunchTemplateName"], made["DefaultVersionNumber"], made["LatestVersionNumber"]), ("builds", 1, 1))
(found,) = client.describe_launch_templates(LaunchTemplateNames=["builds"])["LaunchTemplates"]
equal(found["LaunchTemplateId"], made["LaunchTemplateId"])
refused("InvalidLaunchTemplateName.AlreadyExistsException", client.create_launch_template,
        LaunchTemplateName="builds", LaunchTemplateData={"InstanceType": "t3.nano"})

(instance,) = ec2.create_instances(LaunchTemplate={"LaunchTemplateName": "builds", "Version": "$Latest"}, MinCount=1, MaxCount=1)
equal((instance.image_id, instance.instance_type), (image, "t3.small"))
assert {"Key": "from", "Value": "template"} in instance.tags, instance.tags
# What the call says itself goes first.
(other,) = ec2.create_instances(
    LaunchTemplate={"LaunchTemplateId": made["LaunchTemplateId"]}, InstanceType="t3.micro", MinCount=1, MaxCount=1)
equal((other.image_id, other.instance_type), (image, "t3.micro"))
refused("InvalidLaunchTemplateName.NotFoundException", ec2.create_instances,
        LaunchTemplate={"LaunchTemplateName": "none"}, MinCount=1, MaxCount=1)
refused("InvalidLaunchTemplateId.NotFound", ec2.create_instances,
        LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0"}, MinCount=1, MaxCount=1)
for i in (instance, other):
    i.terminate()
for i in (instance, other):
    i.wait_until_terminated(WaiterConfig=often)
