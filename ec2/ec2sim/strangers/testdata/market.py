"""Spot instances, in both of the ways in which they are bought."""

import base64
import datetime

from asking import client, ec2, equal, image, often, refused, zone

def request_of(id):
    (r,) = client.describe_spot_instance_requests(SpotInstanceRequestIds=[id])["SpotInstanceRequests"]
    return r.get("InstanceId"), r["State"], r["Status"]["Code"]


# What it costs.
now = datetime.datetime.now(datetime.timezone.utc)
pages = client.get_paginator("describe_spot_price_history").paginate(
    StartTime=now - datetime.timedelta(days=1), EndTime=now, InstanceTypes=["t3.micro"], ProductDescriptions=["Linux/UNIX"],
    AvailabilityZone=zone)
prices = [p for page in pages for p in page["SpotPriceHistory"]]
assert prices, "there are no prices"
equal({(p["InstanceType"], p["AvailabilityZone"], p["ProductDescription"]) for p in prices}, {("t3.micro", zone, "Linux/UNIX")})
price = float(prices[0]["SpotPrice"])
assert 0 < price < 1 and prices[0]["Timestamp"] <= now, prices[0]

# A launch at the market, as one buys today.
(bought,) = ec2.create_instances(
    ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, Placement={"AvailabilityZone": zone},
    InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "%.4f" % (2 * price)}})
bought.wait_until_running(WaiterConfig=often)
bought.reload()
equal(bought.instance_lifecycle, "spot")
equal(request_of(bought.spot_instance_request_id), (bought.id, "active", "fulfilled"))

# A request, as one bought before.
specification = {
    "ImageId": image, "InstanceType": "t3.micro", "Placement": {"AvailabilityZone": zone},
    "UserData": base64.b64encode(b"#!/bin/sh\nexec sleep 1000\n").decode(),
}
(requested,) = client.request_spot_instances(SpotPrice="%.4f" % (2 * price), LaunchSpecification=specification)["SpotInstanceRequests"]
id = requested["SpotInstanceRequestId"]
client.get_waiter("spot_instance_request_fulfilled").wait(SpotInstanceRequestIds=[id], WaiterConfig=often)
instance = ec2.Instance(request_of(id)[0])
instance.wait_until_running(WaiterConfig=often)
equal(instance.spot_instance_request_id, id)
equal(client.cancel_spot_instance_requests(SpotInstanceRequestIds=[id])["CancelledSpotInstanceRequests"][0]["State"], "cancelled")
equal(request_of(id), (instance.id, "cancelled", "request-canceled-and-instance-running"))

# User data that is not base64 is no user data.
refused("InvalidUserData.Malformed", client.request_spot_instances,
        LaunchSpecification=dict(specification, UserData="#!/bin/sh"))

bought.terminate()
instance.terminate()
for i in (bought, instance):
    i.wait_until_terminated(WaiterConfig=often)
equal(request_of(bought.spot_instance_request_id), (bought.id, "closed", "instance-terminated-by-user"))
