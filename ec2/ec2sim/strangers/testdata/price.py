"""What an hour of an instance costs, asked of the Price List."""

import json

from asking import endpoint, equal, session

pricing = session.client("pricing", endpoint_url=endpoint)


def products(**wanted):
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages = pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters)
    return [json.loads(product) for page in pages for product in page["PriceList"]]


(small,) = products(
    instanceType="t3.small", regionCode=session.region_name, operatingSystem="Linux", tenancy="Shared",
    capacitystatus="Used", preInstalledSw="NA")
equal(small["product"]["attributes"]["instanceType"], "t3.small")
(term,) = small["terms"]["OnDemand"].values()
(dimension,) = term["priceDimensions"].values()
equal(dimension["unit"], "Hrs")
assert 0 < float(dimension["pricePerUnit"]["USD"]) < 1, dimension
equal(products(instanceType="t9.huge"), [])
