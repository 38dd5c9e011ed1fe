package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// refusal is arguments of worker.EC2LatentWorker that cannot be, and all that
// is said about them. A mark in the arguments stands before each place that an
// error names; it is no part of the text.
type refusal struct {
	kind refusalKind
	args string
	want []string
}

func refused(kind refusalKind, args string, want ...string) refusal {
	return refusal{kind, args, want}
}

type refusalKind string

const (
	wrongType   refusalKind = "wrong type"
	impossible  refusalKind = "impossible value"
	unknownKey  refusalKind = "unknown key"
	combination refusalKind = "combination"
)

const mark = "▸"

const (
	notText     = " must be a string, not "
	notFlag     = " must be True or False, not "
	notOwner    = "valid_ami_owners must be an account number (an integer of at most 12 digits), or a list of them, not "
	notType     = " (a type is a family and a size, such as m7i.large)"
	leaveOut    = " (leave one of them out)"
	bothKeys    = " (give both, or neither to use the credentials of the environment)"
	ownKeys     = " (the session brings its own credentials)"
	notSeconds  = " must be a positive number of seconds, not "
	notPrice    = " must be a positive price in US dollars an hour, or None, not "
	notTemplate = "launch_template must be a launch template's id or name, or a dictionary with LaunchTemplateId or LaunchTemplateName, and Version, not "
	longName    = "0123456789012345678901234567890123456789012345678" // after a letter, the longest there can be
)

// refusals are the table: by parameter, what its value cannot be, and with
// which others it cannot stand.
var refusals = map[string][]refusal{
	"name": {
		refused(wrongType, `▸name=5`, "name"+notText+"5"),
		refused(wrongType, `▸name=None`, "name"+notText+"None"),
		refused(impossible, `▸name=''`, "name"+notText+"an empty string"),
		refused(impossible, `▸name='a:b'`, `"a:b" cannot name a worker (a name is letters, digits, - and _, and does not begin with a digit)`),
		refused(impossible, `▸name='status'`, `the name "status" is reserved`),
		refused(impossible, `▸name='b0`+longName+`'`, `"b0`+longName+`" is longer than 50 characters`),
		refused(combination, `▸name='b`+longName[:47]+`', instances=10`, `with instances=10, the name "b`+longName[:47]+`-10" is longer than 50 characters`),
	},
	"password": {
		refused(wrongType, `▸password=['hunter2']`, "password must be a string or util.Secret('name'), not a list"),
		refused(wrongType, `▸password=12345`, "password must be a string or util.Secret('name'), not a value of type int"),
		refused(impossible, `▸password=''`, "password must be a string or util.Secret('name'), not an empty string"),
	},
	"instance_type": {
		refused(wrongType, `▸instance_type=5`, "instance_type must be a string or a list of strings, not 5"),
		refused(wrongType, `instance_type=['m5.large', ▸5]`, "instance_type must be a list of strings, not 5"),
		refused(impossible, `▸instance_type='large'`, `instance_type: "large" is no instance type`+notType),
		refused(impossible, `instance_type=['m5.large', ▸'M5.large']`, `instance_type: "M5.large" is no instance type`+notType),
		refused(impossible, `▸instance_type=[]`, "instance_type must be at least one instance type, not an empty list"),
		refused(impossible, `instance_type=['m5.large', ▸'m5.large']`, `instance_type has "m5.large" twice`),
	},
	"ami": {
		refused(wrongType, `▸ami=12345`, "ami"+notText+"12345"),
		refused(impossible, `▸ami='12345'`, `ami must be an id that begins with ami-, not "12345"`),
		refused(impossible, `▸ami='ami-'`, `ami must be an id that begins with ami-, not "ami-"`),
		refused(combination, `ami=None`, "@there is no image to start (give ami, ami_ssm_parameter, or one or more of valid_ami_owners, valid_ami_location_regex, ami_filters)"),
	},
	"valid_ami_owners": {
		refused(wrongType, `▸valid_ami_owners='123456789012'`, notOwner+`"123456789012"`),
		refused(wrongType, `valid_ami_owners=[1, ▸'self']`, notOwner+`"self"`),
		refused(wrongType, `valid_ami_owners=[1, ▸1.5]`, notOwner+`1.5`),
		refused(impossible, `▸valid_ami_owners=0`, notOwner+"0"),
		refused(impossible, `valid_ami_owners=(1, ▸-1)`, notOwner+"-1"),
		refused(impossible, `valid_ami_owners=[▸1234567890123]`, notOwner+"1234567890123"),
		refused(impossible, `▸valid_ami_owners=[]`, "valid_ami_owners must be at least one account number, not an empty list"),
		refused(combination, `ami='ami-1', ▸valid_ami_owners=1`, "valid_ami_owners cannot stand beside ami"+leaveOut),
	},
	"valid_ami_location_regex": {
		refused(wrongType, `▸valid_ami_location_regex=5`, "valid_ami_location_regex"+notText+"5"),
		refused(impossible, `▸valid_ami_location_regex=''`, "valid_ami_location_regex"+notText+"an empty string"),
		refused(impossible, `▸valid_ami_location_regex='a(?=b)'`, `valid_ami_location_regex cannot be used: invalid or unsupported Perl syntax "(?=" at its character 2 (expressions are RE2's: there is no lookahead, lookbehind or condition)`),
		refused(impossible, `▸valid_ami_location_regex='a(?<!b)'`, `valid_ami_location_regex cannot be used: invalid named capture "(?<!b)" at its character 2 (expressions are RE2's: there is no lookahead, lookbehind or condition)`),
		refused(impossible, `▸valid_ami_location_regex=r'(a)\1'`, `valid_ami_location_regex cannot be used: invalid escape sequence "\\1" at its character 4 (expressions are RE2's: there are no backreferences, and \Z is \z)`),
		refused(impossible, `▸valid_ami_location_regex='a*+'`, `valid_ami_location_regex cannot be used: invalid nested repetition operator "*+" at its character 2 (expressions are RE2's: there are no possessive quantifiers)`),
		refused(impossible, `▸valid_ami_location_regex='(a'`, `valid_ami_location_regex cannot be used: missing closing ) "(a" at its character 1 (expressions are RE2's)`),
		refused(combination, `ami='ami-1', ▸valid_ami_location_regex='a'`, "valid_ami_location_regex cannot stand beside ami"+leaveOut),
	},
	"elastic_ip": {
		refused(wrongType, `▸elastic_ip=5`, "elastic_ip"+notText+"5"),
		refused(impossible, `▸elastic_ip='208.77.188.256'`, `elastic_ip must be a public IPv4 address of your account, not "208.77.188.256"`),
		refused(impossible, `▸elastic_ip='2001:db8::1'`, `elastic_ip must be a public IPv4 address of your account, not "2001:db8::1"`),
		refused(impossible, `▸elastic_ip='10.0.0.1'`, `elastic_ip must be a public IPv4 address of your account, not "10.0.0.1"`),
		refused(impossible, `▸elastic_ip='0.0.0.0'`, `elastic_ip must be a public IPv4 address of your account, not "0.0.0.0"`),
		refused(combination, `▸elastic_ip='208.77.188.166', instances=2`, "elastic_ip is one address, for 2 instances (define one worker for each address)"),
	},
	"identifier": {
		refused(wrongType, `▸identifier=5, secret_identifier='s'`, "identifier must be a string or util.Secret('name'), not a value of type int"),
		refused(impossible, `▸identifier='', secret_identifier='s'`, "identifier must be a string or util.Secret('name'), not an empty string"),
		refused(impossible, `▸identifier='AKIA\n', secret_identifier='s'`, "identifier has white space in it"),
		refused(combination, `▸identifier='AKIA'`, "identifier is given without secret_identifier"+bothKeys),
		refused(combination, `▸identifier='AKIA', ▸secret_identifier='s', session=boto3.session.Session()`,
			"identifier cannot stand beside session"+ownKeys, "secret_identifier cannot stand beside session"+ownKeys),
	},
	"secret_identifier": {
		refused(wrongType, `identifier='AKIA', ▸secret_identifier=5`, "secret_identifier must be a string or util.Secret('name'), not a value of type int"),
		refused(impossible, `identifier='AKIA', ▸secret_identifier=''`, "secret_identifier must be a string or util.Secret('name'), not an empty string"),
		refused(impossible, `identifier='AKIA', ▸secret_identifier='hunter 2'`, "secret_identifier has white space in it"),
		refused(combination, `▸secret_identifier='hunter2'`, "secret_identifier is given without identifier"+bothKeys),
	},
	"aws_id_file_path": {
		refused(wrongType, `▸aws_id_file_path=5`, "aws_id_file_path"+notText+"5"),
		refused(impossible, `▸aws_id_file_path='not-there'`, "base/not-there cannot be read: no such file or directory"),
		refused(impossible, `▸aws_id_file_path='../testdata/secrets/linux-password'`, "testdata/secrets/linux-password must have two lines: the access key id and the secret access key"),
		refused(combination, `▸aws_id_file_path='f', identifier='AKIA', secret_identifier='s'`, "aws_id_file_path cannot stand beside identifier and secret_identifier"),
		refused(combination, `▸aws_id_file_path='f', session=boto3.session.Session()`, "aws_id_file_path cannot stand beside session"+ownKeys),
	},
	"user_data": {
		refused(wrongType, `▸user_data=5`, "user_data must be a string or made by util.Interpolate, not a value of type int"),
		refused(wrongType, `▸user_data=util.Property('x')`, "user_data must be a string or made by util.Interpolate, not util.Property"),
		refused(impossible, `▸user_data='x' * 16385`, "user_data has 16385 bytes, and EC2 takes at most 16384 (let it fetch the rest)"),
		refused(impossible, `▸user_data=util.Interpolate('%(prop:x)s')`, "user_data cannot use prop: it is written when an instance starts, for no build in particular, and whatever runs there can read it (there are %(worker:NAME)s and %(kw:NAME)s)"),
		refused(impossible, `▸user_data=util.Interpolate('%(secret:linux-password)s')`, "user_data cannot use secret: it is written when an instance starts, for no build in particular, and whatever runs there can read it (there are %(worker:NAME)s and %(kw:NAME)s)"),
		refused(impossible, `▸user_data=util.Interpolate('%(kw:a)s', a=util.Secret('linux-password'))`, "user_data cannot hold a secret: whatever runs on the instance can read it"),
		refused(unknownKey, `▸user_data=util.Interpolate('%(worker:passwd)s')`, "user_data: there is no %(worker:passwd)s (did you mean password?)"),
		refused(combination, `▸user_data='#!/bin/sh', bootstrap='cloud-init'`, "user_data cannot stand beside bootstrap, which writes the user data"+leaveOut),
	},
	"region": {
		refused(wrongType, `▸region=5`, "region"+notText+"5"),
		refused(impossible, `▸region='US West 2'`, `region must be a region's name, such as 'eu-central-1', not "US West 2"`),
		refused(impossible, `▸region='us-west-2b'`, `region must be a region's name, such as 'eu-central-1', not "us-west-2b"`),
	},
	"keypair_name": {
		refused(wrongType, `▸keypair_name=True`, "keypair_name"+notText+"True"),
		refused(impossible, `▸keypair_name=''`, "keypair_name"+notText+"an empty string"),
		refused(impossible, `▸keypair_name='schlüssel'`, `keypair_name must be a name of at most 255 ASCII characters, not "schlüssel"`),
	},
	"security_name": {
		refused(wrongType, `▸security_name=['a']`, "security_name"+notText+"a list"),
		refused(impossible, `▸security_name='sg-12345'`, `security_name must be a group's name, not the id "sg-12345" (name groups by their ids in security_group_ids)`),
		refused(impossible, `▸security_name='a|b'`, `security_name must be a name of at most 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, not "a|b"`),
		refused(combination, `▸security_name='a', subnet_id='subnet-1'`, "security_name cannot be used in a subnet (subnet_id) (name the groups by security_group_ids)"),
	},
	"spot_instance": {
		refused(wrongType, `▸spot_instance='yes'`, "spot_instance"+notFlag+`"yes"`),
		refused(impossible, `▸spot_instance=2`, "spot_instance"+notFlag+"2"),
	},
	"max_spot_price": {
		refused(wrongType, `spot_instance=True, ▸max_spot_price='0.09'`, "max_spot_price"+notPrice+`"0.09"`),
		refused(wrongType, `spot_instance=True, ▸max_spot_price=True`, "max_spot_price"+notPrice+`True`),
		refused(impossible, `spot_instance=True, ▸max_spot_price=0`, "max_spot_price"+notPrice+"0"),
		refused(impossible, `spot_instance=True, ▸max_spot_price=float('inf')`, "max_spot_price"+notPrice+"+inf"),
		refused(impossible, `spot_instance=True, ▸max_spot_price=0.001`, "max_spot_price must be more than $0.001 an hour, which is EC2's lowest bid, not 0.001"),
		refused(combination, `spot_instance=True, ▸max_spot_price=None, price_multiplier=None`, "max_spot_price and price_multiplier cannot both be None (give one of them, or both)"),
	},
	"volumes": {
		refused(wrongType, `▸volumes='vol-1'`, `volumes must be a list of (volume id, device) pairs, not "vol-1"`),
		refused(wrongType, `volumes=[▸'vol-1']`, `volumes must be a (volume id, device) pair, not "vol-1"`),
		refused(wrongType, `volumes=[(▸1, '/dev/sdf')]`, "volumes"+notText+"1"),
		refused(wrongType, `volumes=[('vol-1', ▸2)]`, "volumes"+notText+"2"),
		refused(impossible, `volumes=[▸('vol-1', '/dev/sdf', 3)]`, "volumes must be (volume id, device) pairs, not 3 values"),
		refused(impossible, `volumes=[(▸'/dev/sdf', ▸'vol-1')]`, `volumes must be an id that begins with vol-, not "/dev/sdf"`, `volumes must be a device's name, such as '/dev/sdf', not "vol-1"`),
		refused(impossible, `volumes=[('vol-1', '/dev/sdf'), ▸('vol-1', '/dev/sdg')]`, `volumes: "vol-1" or "/dev/sdg" is there twice`),
		refused(impossible, `volumes=[('vol-1', '/dev/sdf'), ▸('vol-2', '/dev/sdf')]`, `volumes: "vol-2" or "/dev/sdf" is there twice`),
		refused(combination, `▸volumes=[('vol-1', '/dev/sdf')], instances=2`, "volumes can be attached to one instance, not to 2 (define one worker for each set of volumes)"),
		refused(combination, `volumes=[▸('vol-1', '/dev/sdf')], block_device_map=[{'DeviceName': '/dev/sdf'}]`, `volumes: block_device_map has the device "/dev/sdf", too`),
	},
	"placement": {
		refused(wrongType, `▸placement=5`, "placement"+notText+"5"),
		refused(impossible, `▸placement='B'`, `placement must be a zone's letter, such as 'b' for the region's zone b, not "B"`),
		refused(impossible, `▸placement='us-west-2'`, `placement must be a zone's letter, such as 'b' for the region's zone b, not "us-west-2"`),
		refused(combination, `region='us-west-2', ▸placement='eu-west-1b'`, `the zone "eu-west-1b" is not in the region "us-west-2"`),
		refused(combination, `session=boto3.session.Session(region_name='us-west-2'), ▸placement='eu-west-1b'`, `the zone "eu-west-1b" is not in the region "us-west-2"`),
	},
	"price_multiplier": {
		refused(wrongType, `spot_instance=True, ▸price_multiplier='1.15'`, `price_multiplier must be a positive number or None, not "1.15"`),
		refused(impossible, `spot_instance=True, ▸price_multiplier=0`, "price_multiplier must be a positive number or None, not 0"),
		refused(impossible, `spot_instance=True, ▸price_multiplier=1e300`, "price_multiplier must be at most 100, not 1e+300"),
		refused(impossible, `spot_instance=True, ▸price_multiplier=float('nan')`, "price_multiplier must be a positive number or None, not nan"),
	},
	"tags": {
		refused(wrongType, `▸tags=['a']`, "tags must be a dictionary, not a list"),
		refused(wrongType, `tags={'a': ▸5}`, `tags["a"] must be a string, not 5`),
		refused(wrongType, `▸tags={5: 'a'}`, "tags: a key must be a string, not 5"),
		refused(impossible, `tags={▸'': 'a'}`, "tags: a key is empty"),
		refused(impossible, `tags={▸'AWS:x': 'a'}`, `tags: "AWS:x": keys that begin with aws: or dormouse: are reserved`),
		refused(impossible, `tags={▸'dormouse:worker': 'a'}`, `tags: "dormouse:worker": keys that begin with aws: or dormouse: are reserved`),
		refused(impossible, `▸tags={'k' * 129: 'a'}`, `tags: the key "`+strings.Repeat("k", 80)+`…" is longer than 128 characters`),
		refused(impossible, `tags={'k': ▸'v' * 257}`, `tags: the value of "k" is longer than 256 characters`),
		refused(impossible, `▸tags={'k%d' % i: '' for i in range(46)}`, "tags has 46 tags, and there can be 45"),
	},
	"product_description": {
		refused(wrongType, `▸product_description=5`, productsAllowed+"5"),
		refused(impossible, `▸product_description='Linux'`, productsAllowed+`"Linux"`),
	},
	"subnet_id": {
		refused(wrongType, `▸subnet_id=5`, "subnet_id must be a string or a list of strings, not 5"),
		refused(wrongType, `subnet_id=['subnet-1', ▸5]`, "subnet_id must be a list of strings, not 5"),
		refused(impossible, `▸subnet_id='vpc-1'`, `subnet_id must be ids that begin with subnet-, not "vpc-1"`),
		refused(impossible, `subnet_id=['subnet-1', ▸'subnet-1']`, `subnet_id has "subnet-1" twice`),
		refused(impossible, `▸subnet_id=[]`, "subnet_id must be at least one id, not an empty list"),
	},
	"security_group_ids": {
		refused(wrongType, `▸security_group_ids=5`, "security_group_ids must be a string or a list of strings, not 5"),
		refused(impossible, `security_group_ids=['sg-1', ▸'default']`, `security_group_ids must be ids that begin with sg-, not "default"`),
		refused(impossible, `▸security_group_ids=[]`, "security_group_ids must be at least one id, not an empty list"),
	},
	"instance_profile_name": {
		refused(wrongType, `▸instance_profile_name=5`, "instance_profile_name"+notText+"5"),
		refused(impossible, `▸instance_profile_name='my profile'`, `instance_profile_name must be a name of at most 128 letters, digits and _+=,.@-, not "my profile"`),
		refused(impossible, `▸instance_profile_name='arn:aws:iam::1:instance-profile/p'`, "instance_profile_name must be the profile's name, not its ARN (it is what follows the last slash of the ARN)"),
	},
	"block_device_map": {
		refused(wrongType, `▸block_device_map={'DeviceName': '/dev/xvdb'}`, "block_device_map must be a list of dictionaries, not a dictionary"),
		refused(wrongType, `block_device_map=[▸'/dev/xvdb']`, `block_device_map[0] must be a dictionary, not "/dev/xvdb"`),
		refused(wrongType, `block_device_map=[{'DeviceName': ▸5}]`, `block_device_map[0]["DeviceName"] must be a string, not 5`),
		refused(wrongType, `block_device_map=[{'DeviceName': '/dev/xvdb', 'Ebs': ▸5}]`, `block_device_map[0]["Ebs"] must be a dictionary, not 5`),
		refused(wrongType, ebs(`'VolumeSize': ▸'100'`), `block_device_map[0]["Ebs"]["VolumeSize"] must be a positive integer, not "100"`),
		refused(wrongType, ebs(`'Encrypted': ▸1`), `block_device_map[0]["Ebs"]["Encrypted"] must be True or False, not 1`),
		refused(impossible, `block_device_map=[▸{'Ebs': {}}]`, "block_device_map[0] needs a DeviceName"),
		refused(impossible, `block_device_map=[{'DeviceName': ▸'/dev/ xvdb'}]`, `block_device_map[0]["DeviceName"] must be a device's name, such as '/dev/sdf', not "/dev/ xvdb"`),
		refused(impossible, `block_device_map=[{'DeviceName': 'xvdb'}, ▸{'DeviceName': 'xvdb'}]`, `block_device_map[1]: another entry has the DeviceName "xvdb"`),
		refused(impossible, `block_device_map=[{'DeviceName': 'xvdb', 'VirtualName': ▸'x'}]`, `block_device_map[0]["VirtualName"] must be an instance store volume's name, such as 'ephemeral0', not "x"`),
		refused(impossible, ebs(`'VolumeSize': ▸0`), `block_device_map[0]["Ebs"]["VolumeSize"] must be a positive integer, not 0`),
		refused(impossible, ebs(`'VolumeSize': ▸65537`), `block_device_map[0]["Ebs"]["VolumeSize"] must be at most 65536 GiB, not 65537`),
		refused(impossible, ebs(`'VolumeType': ▸'io3'`), `block_device_map[0]["Ebs"]["VolumeType"] must be 'gp2', 'gp3', 'io1', 'io2', 'sc1', 'st1' or 'standard', not "io3"`),
		refused(impossible, ebs(`'SnapshotId': ▸'x'`), `block_device_map[0]["Ebs"]["SnapshotId"] must be an id that begins with snap-, not "x"`),
		refused(impossible, ebs(`'VolumeType': 'gp2', 'VolumeSize': ▸16385`), `block_device_map[0]["Ebs"]["VolumeSize"] must be from 1 to 16384 for a volume of type gp2, not 16385`),
		refused(impossible, ebs(`'VolumeType': 'st1', 'VolumeSize': ▸100`), `block_device_map[0]["Ebs"]["VolumeSize"] must be from 125 to 16384 for a volume of type st1, not 100`),
		refused(impossible, ebs(`'VolumeType': 'gp3', 'Iops': ▸100`), `block_device_map[0]["Ebs"]["Iops"] must be from 3000 to 80000 for a volume of type gp3, not 100`),
		refused(impossible, ebs(`'VolumeType': 'gp3', 'Throughput': ▸5000`), `block_device_map[0]["Ebs"]["Throughput"] must be from 125 to 2000 for a volume of type gp3, not 5000`),
		refused(combination, `block_device_map=[{'DeviceName': 'xvdb', 'VirtualName': ▸'ephemeral0', 'Ebs': {}}]`, `block_device_map[0] is a volume of the instance store (VirtualName) or of EBS (Ebs), not both (leave one of them out)`),
		refused(combination, ebs(`'VolumeType': ▸'io1'`), `block_device_map[0]["Ebs"]: a volume of type io1 needs Iops (give Iops, or take gp3)`),
		refused(combination, ebs(`'VolumeType': 'gp2', 'Iops': ▸1000`), `block_device_map[0]["Ebs"]: a volume of type gp2 has no Iops (leave it out, or take gp3, io1 or io2)`),
		refused(combination, ebs(`'VolumeType': 'io2', 'Iops': 1000, 'Throughput': ▸500`), `block_device_map[0]["Ebs"]: a volume of type io2 has no Throughput (leave it out, or take gp3)`),
		refused(unknownKey, `block_device_map=[{'DeviceName': '/dev/xvdb', ▸'EBS': {}}]`, `block_device_map[0] has no key "EBS" (did you mean Ebs?)`),
		refused(unknownKey, ebs(`▸'Size': 100`), `block_device_map[0]["Ebs"] has no key "Size" (did you mean VolumeSize?)`),
	},
	"session": {
		refused(wrongType, `▸session='default'`, `session must be made by boto3.session.Session, not "default"`),
		refused(wrongType, `▸session=boto3`, "session must be made by boto3.session.Session, not module"),
		refused(wrongType, `session=boto3.session.Session(▸profile_name=5)`, "boto3.Session: profile_name"+notText+"5"),
		refused(impossible, `session=boto3.session.Session(▸aws_access_key_id='AKIA')`, "boto3.Session: aws_access_key_id is given without aws_secret_access_key"+bothKeys),
		refused(impossible, `session=boto3.session.Session(▸aws_session_token='hunter2')`, "boto3.Session: aws_session_token is given without aws_access_key_id"),
		refused(impossible, `session=boto3.session.Session(▸region_name='Frankfurt')`, `boto3.Session: region_name must be a region's name, such as 'eu-central-1', not "Frankfurt"`),
		refused(impossible, `session=boto3.session.Session(▸endpoint_url='ec2.local')`, `boto3.Session: endpoint_url must be an http or https URL, not this string`),
		refused(impossible, `session=boto3.session.Session(▸role_arn='builder')`, `boto3.Session: role_arn must be a role's ARN, such as 'arn:aws:iam::123456789012:role/builder', not "builder"`),
		refused(combination, `session=boto3.session.Session(▸external_id='x')`, "boto3.Session: external_id is given without role_arn"),
		refused(unknownKey, `session=boto3.session.Session(▸profile='x')`, "boto3.Session has no argument profile (did you mean profile_name?)"),
	},
	"max_builds": {
		refused(wrongType, `▸max_builds='2'`, `max_builds must be a positive integer, not "2"`),
		refused(wrongType, `▸max_builds=1.5`, "max_builds must be a positive integer, not 1.5"),
		refused(impossible, `▸max_builds=0`, "max_builds must be a positive integer, not 0"),
	},
	"notify_on_missing": {
		refused(wrongType, `▸notify_on_missing=5`, "notify_on_missing must be a string or a list of strings, not 5"),
		refused(wrongType, `notify_on_missing=['a@example.com', ▸5]`, "notify_on_missing must be a list of strings, not 5"),
		refused(impossible, `notify_on_missing=[▸'a@b@c']`, `notify_on_missing must be mail addresses, such as 'ci@example.com', not "a@b@c"`),
		refused(impossible, `▸notify_on_missing='a@example.com\nBcc: b'`, `notify_on_missing must be mail addresses, such as 'ci@example.com', not "a@example.com\nBcc: b"`),
	},
	"missing_timeout": {
		refused(wrongType, `▸missing_timeout='20m'`, "missing_timeout"+notSeconds+`"20m"`),
		refused(impossible, `▸missing_timeout=0`, "missing_timeout"+notSeconds+"0"),
		refused(impossible, `▸missing_timeout=1e300`, "missing_timeout must be at most 1000000000 seconds, not 1e+300"),
	},
	"properties": {
		refused(wrongType, `▸properties=['a']`, "properties must be a dictionary, not a list"),
		refused(wrongType, `properties={'a': ▸len}`, `properties["a"] must be a string, a number, a list, a dictionary, or made by util.Interpolate, util.Property, util.renderer or util.Secret, not a function`),
		refused(impossible, `properties={'a': ▸1 << 64}`, `properties["a"] must be an integer of at most 64 bits, not 18446744073709551616`),
		refused(impossible, `▸properties={'a': util.Secret('linux-password')}`, "properties cannot hold a secret (linux-password): properties are shown with the build (use it in a step's env)"),
	},
	"defaultProperties": {
		refused(wrongType, `▸defaultProperties='a'`, `defaultProperties must be a dictionary, not "a"`),
		refused(impossible, `defaultProperties={'a': ▸float('nan')}`, `defaultProperties["a"] must be a finite number, not nan`),
	},
	"locks": {
		refused(wrongType, `▸locks=5`, "locks must be a list of locks, such as lock.access('counting'), not 5"),
		refused(wrongType, `locks=[▸'tape']`, `locks must be made by util.MasterLock or util.WorkerLock, or its method access, not "tape"`),
		refused(impossible, `locks=[util.MasterLock('tape'), ▸util.MasterLock('tape')]`, `locks: lock "tape" stands there twice`),
	},
	"keepalive_interval": {
		refused(wrongType, `▸keepalive_interval='1h'`, "keepalive_interval"+notSeconds+`"1h"`),
		refused(impossible, `▸keepalive_interval=-1`, "keepalive_interval"+notSeconds+"-1"),
	},
	"on_shutdown": {
		refused(wrongType, `▸on_shutdown=True`, "on_shutdown must be 'terminate' or 'keep', not True"),
		refused(impossible, `▸on_shutdown='stop'`, `on_shutdown must be 'terminate' or 'keep', not "stop"`),
	},
	"build_wait_timeout": {
		refused(wrongType, `▸build_wait_timeout='10m'`, `build_wait_timeout must be a number of seconds, not "10m"`),
		refused(impossible, `▸build_wait_timeout=float('nan')`, "build_wait_timeout must be a number of seconds, not nan"),
		refused(impossible, `▸build_wait_timeout=-1e10`, "build_wait_timeout must be at most 1000000000 seconds, not -1e+10"),
	},
	"check_instance_interval": {
		refused(wrongType, `▸check_instance_interval='10'`, "check_instance_interval"+notSeconds+`"10"`),
		refused(impossible, `▸check_instance_interval=0`, "check_instance_interval"+notSeconds+"0"),
		refused(impossible, `▸check_instance_interval=0.001`, "check_instance_interval must be at least 1 second, not 0.001"),
	},
	"instances": {
		refused(wrongType, `▸instances='3'`, `instances must be an integer from 1 to 1000, not "3"`),
		refused(wrongType, `▸instances=True`, "instances must be an integer from 1 to 1000, not True"),
		refused(impossible, `▸instances=0`, "instances must be an integer from 1 to 1000, not 0"),
		refused(impossible, `▸instances=1001`, "instances must be an integer from 1 to 1000, not 1001"),
	},
	"associate_public_ip_address": {
		refused(wrongType, `▸associate_public_ip_address='yes'`, "associate_public_ip_address"+notFlag+`"yes"`),
		refused(impossible, `▸associate_public_ip_address=2`, "associate_public_ip_address"+notFlag+"2"),
	},
	"fallback_to_on_demand": {
		refused(wrongType, `spot_instance=True, ▸fallback_to_on_demand='yes'`, "fallback_to_on_demand"+notFlag+`"yes"`),
		refused(impossible, `spot_instance=True, ▸fallback_to_on_demand=-1`, "fallback_to_on_demand"+notFlag+"-1"),
	},
	"price_per_hour": {
		refused(wrongType, `▸price_per_hour='$0.10'`, "price_per_hour"+notPrice+`"$0.10"`),
		refused(impossible, `▸price_per_hour=0`, "price_per_hour"+notPrice+"0"),
	},
	"launch_template": {
		refused(wrongType, `▸launch_template=5`, notTemplate+"5"),
		refused(wrongType, `launch_template={'LaunchTemplateId': ▸5}`, `launch_template["LaunchTemplateId"] must be a string, not 5`),
		refused(wrongType, `launch_template={'LaunchTemplateName': 'ci-image', 'Version': ▸1.5}`, `launch_template["Version"] must be a version's number, '$Latest' or '$Default', not 1.5`),
		refused(impossible, `▸launch_template='lt-'`, `launch_template must be an id that begins with lt-, not "lt-"`),
		refused(impossible, `▸launch_template='a b'`, `launch_template must be a name of 3 to 128 letters, digits and ( ) . - / _, not "a b"`),
		refused(impossible, `launch_template={'LaunchTemplateId': ▸'ci'}`, `launch_template["LaunchTemplateId"] must be an id that begins with lt-, not "ci"`),
		refused(impossible, `launch_template={'LaunchTemplateName': 'ci-image', 'Version': ▸'latest'}`, `launch_template["Version"] must be a version's number, '$Latest' or '$Default', not "latest"`),
		refused(impossible, `launch_template={'LaunchTemplateName': 'ci-image', 'Version': ▸0}`, `launch_template["Version"] must be a version's number, '$Latest' or '$Default', not 0`),
		refused(combination, `▸launch_template={'Version': '1'}`, "launch_template must be a dictionary with one of LaunchTemplateId and LaunchTemplateName, not a dictionary"),
		refused(combination, `▸launch_template={'LaunchTemplateId': 'lt-1', 'LaunchTemplateName': 'ci-image'}`, "launch_template must be a dictionary with one of LaunchTemplateId and LaunchTemplateName, not a dictionary"),
		refused(unknownKey, `launch_template={'LaunchTemplateName': 'ci-image', ▸'Verzion': '1'}`, `launch_template has no key "Verzion" (did you mean Version?)`),
	},
	"ami_ssm_parameter": {
		refused(wrongType, `▸ami_ssm_parameter=5`, "ami_ssm_parameter"+notText+"5"),
		refused(impossible, `▸ami_ssm_parameter='my image'`, `ami_ssm_parameter must be the name of a parameter, such as '/builders/image' or '/builders/image:3', not "my image"`),
		refused(impossible, `▸ami_ssm_parameter='resolve:ssm:/ci/image'`, `ami_ssm_parameter must be the parameter's name alone, not "resolve:ssm:/ci/image" (leave resolve:ssm: out, it is put there)`),
		refused(combination, `ami='ami-1', ▸ami_ssm_parameter='/ci/image'`, "ami_ssm_parameter cannot stand beside ami"+leaveOut),
		refused(combination, `ami_ssm_parameter='/ci/image', ▸valid_ami_owners=1`, "valid_ami_owners cannot stand beside ami_ssm_parameter"+leaveOut),
	},
	"ami_filters": {
		refused(wrongType, `▸ami_filters=[('name', 'a')]`, "ami_filters must be a dictionary, not a list"),
		refused(wrongType, `ami_filters={'is-public': ▸True}`, `ami_filters["is-public"] must be a string or a list of strings, not True`),
		refused(wrongType, `ami_filters={'name': ['a', ▸5]}`, `ami_filters["name"] must be a list of strings, not 5`),
		refused(impossible, `▸ami_filters={}`, "ami_filters must be at least one filter, not an empty dictionary"),
		refused(impossible, `ami_filters={'name': ▸[]}`, `ami_filters["name"] must be at least one value, not an empty list`),
		refused(impossible, `ami_filters={'state': ▸'pending'}`, `ami_filters["state"]: only an image whose state is available can be started (leave the filter out)`),
		refused(impossible, `ami_filters={▸'tag:': 'x'}`, "ami_filters: a filter by tag names the tag's key (write tag:KEY)"),
		refused(impossible, `ami_filters={'name': ▸['%d' % i for i in range(201)]}`, `ami_filters["name"] has 201 values, and a filter can have 200`),
		refused(unknownKey, `ami_filters={▸'achitecture': 'arm64'}`, `ami_filters: DescribeImages has no filter "achitecture" (did you mean architecture?)`),
		refused(combination, `ami='ami-1', ▸ami_filters={'name': 'a'}`, "ami_filters cannot stand beside ami"+leaveOut),
	},
	"bootstrap": {
		refused(combination, `▸bootstrap='cloud-init', product_description='Windows'`, `bootstrap installs the agent by cloud-init on Linux, and product_description is "Windows" (put the worker on the image)`),
		refused(wrongType, `▸bootstrap=True`, "bootstrap must be 'cloud-init' or None, not True"),
		refused(impossible, `▸bootstrap='user-data'`, `bootstrap must be 'cloud-init' or None, not "user-data"`),
	},
}

const productsAllowed = "product_description must be 'Linux/UNIX', 'Linux/UNIX (Amazon VPC)', 'Red Hat Enterprise Linux', 'Red Hat Enterprise Linux (Amazon VPC)', " +
	"'SUSE Linux', 'SUSE Linux (Amazon VPC)', 'Windows' or 'Windows (Amazon VPC)', not "

func ebs(fields string) string {
	return "block_device_map=[{'DeviceName': '/dev/xvdb', 'Ebs': {" + fields + "}}]"
}

// source is a configuration with one worker of these arguments, and what is
// said of it: each error at the next mark, or, with an @, at the call.
func (c refusal) source() (src, want string) {
	args := c.args
	for _, required := range []string{"name='w'", "password='hunter2'", "instance_type='m5.large'", "ami='ami-1'"} {
		name, _, _ := strings.Cut(required, "=")
		if !strings.Contains(" "+strings.ReplaceAll(args, mark, ""), " "+name+"=") && (name != "ami" || !slices.ContainsFunc(imageParams, func(p string) bool { return strings.Contains(args, p+"=") })) {
			args += ", " + required
		}
	}
	const before = "c = BuildmasterConfig = {}\nfrom buildbot.plugins import *\nimport boto3\nc['workers'] = [\n    "
	line := "worker.EC2LatentWorker(" + args + "),"
	column, rest := 4, line
	var said strings.Builder
	for _, w := range c.want {
		at := 5
		if message, atCall := strings.CutPrefix(w, "@"); atCall {
			w = message
		} else {
			text, after, _ := strings.Cut(rest, mark)
			column += len([]rune(text))
			at, rest = column+1, after
		}
		if !strings.HasPrefix(w, "boto3.") {
			w = "worker.EC2LatentWorker: " + w
		}
		fmt.Fprintf(&said, "master.star:5:%d: %s\n", at, w)
	}
	return before + strings.ReplaceAll(line, mark, "") + "\n]\n", said.String()
}

// imageParams name the image in place of ami.
var imageParams = []string{"ami_ssm_parameter", "valid_ami_owners", "valid_ami_location_regex", "ami_filters"}

// TestRefused reads a wrong configuration for each entry of the table.
func TestRefused(t *testing.T) {
	for _, param := range sortedKeys(refusals) {
		for i, c := range refusals[param] {
			t.Run(fmt.Sprintf("%s/%s %d", param, c.kind, i), func(t *testing.T) {
				src, want := c.source()
				_, err := Parse("master.star", []byte(src), testOptions())
				got := ""
				if err != nil {
					got = err.Error() + "\n"
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s(-want +got):\n%s", src, diff)
				}
				if strings.Contains(got, "hunter2") {
					t.Errorf("a password is shown: %s", got)
				}
			})
		}
	}
}

// TestEveryParameterRefuses walks the parameters: each that is supported has in
// the table a value of a wrong type and one that cannot be, and what takes
// keys also one that is not known.
func TestEveryParameterRefuses(t *testing.T) {
	keyed := wordSet("user_data block_device_map session launch_template ami_filters")
	known := make(map[string]bool)
	for _, p := range ec2Class.params {
		known[p.name] = true
		kinds := []refusalKind{wrongType, impossible}
		if keyed[p.name] {
			kinds = append(kinds, unknownKey)
		}
		if p.support == later {
			kinds = nil
		}
		for _, kind := range kinds {
			if !slices.ContainsFunc(refusals[p.name], func(c refusal) bool { return c.kind == kind }) {
				t.Errorf("%s: the table has no %s", p.name, kind)
			}
		}
	}
	for param, cases := range refusals {
		if !known[param] {
			t.Errorf("the table has %s, which is no parameter", param)
		}
		for _, c := range cases {
			if !strings.Contains(c.args, param+"=") {
				t.Errorf("%s: %s does not give it", param, c.args)
			}
		}
	}
}
