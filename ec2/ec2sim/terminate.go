package ec2sim

type terminateInstancesInput struct {
	InstanceIDs []string `query:"InstanceId,required"`
	_           ignored  `query:"Force SkipOsShutdown"`
}

type terminateInstancesOutput struct {
	reply
	Changes set[stateChange] `xml:"instancesSet"`
}

// stateChange tells what a call did to an instance.
type stateChange struct {
	InstanceID string        `xml:"instanceId"`
	Current    instanceState `xml:"currentState"`
	Previous   instanceState `xml:"previousState"`
}

// maxTerminate is EC2's advice for one call, and what its token bucket holds.
const maxTerminate = 1000

// terminateInstances ends instances. One that has ended or is ending is left as
// it is, which is no error; one id that nothing has spoils the whole call.
func (c *call) terminateInstances(in terminateInstancesInput) (*terminateInstancesOutput, error) {
	if len(in.InstanceIDs) > maxTerminate {
		return nil, refuse("InvalidParameterValue", "At most %d instances can be terminated in one call", maxTerminate)
	}
	instances, err := lookUp(instanceKind, in.InstanceIDs, c.instance)
	if err != nil {
		return nil, err
	}
	for _, inst := range instances {
		if inst.protected && !inst.state.Dying() {
			return nil, refuse("OperationNotPermitted",
				"The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", inst.id)
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	out := &terminateInstancesOutput{}
	for _, inst := range instances {
		before := inst.state
		c.end(inst, reasonUser, c.accessKeyID)
		out.Changes.Items = append(out.Changes.Items, stateChange{inst.id, describeState(inst.state), describeState(before)})
	}
	return out, nil
}

// launchableImage finds an image that the account may launch.
func (c *call) launchableImage(id string) (Image, bool) {
	img, ok := c.image(id)
	return img, ok && (img.Public || img.OwnerID == c.opts.AccountID)
}
