package ec2sim

import (
	"errors"
	"net/http"
	"net/url"
	"time"
)

// The services of the endpoint, as signatures name them.
const (
	serviceEC2 = "ec2"
	serviceSTS = "sts"
)

// call is one request on its way through the endpoint.
type call struct {
	*Server
	requestID   string
	service     string
	action      string
	json        bool   // of a [jsonService]
	accessKeyID string // whose signature it bears
	now         time.Time
	dryRun      bool
	// launched is what the call started, as the scenario's conditions see it.
	launched     subject
	misbehaviour misbehaviour
	// fingerprint of the parameters, for client tokens.
	fingerprint [32]byte
}

// action carries out a call: it decodes the parameters and does what it is
// for. It runs with Server.mu held.
type action func(c *call, parameters *node) (any, error)

// on makes an action of a function that takes a decoded input.
func on[In, Out any](do func(*call, In) (Out, error)) action {
	return func(c *call, parameters *node) (any, error) {
		var in In
		if err := parameters.decode(&in); err != nil {
			return nil, err
		}
		return do(c, in)
	}
}

// actions is the table of everything that the endpoint can do.
var actions = map[string]map[string]action{
	serviceEC2: {
		"RunInstances":           runFromTemplate,
		"DescribeInstances":      on((*call).describeInstances),
		"TerminateInstances":     on((*call).terminateInstances),
		"GetConsoleOutput":       on((*call).getConsoleOutput),
		"StopInstances":          on((*call).stopInstances),
		"StartInstances":         on((*call).startInstances),
		"DescribeInstanceStatus": on((*call).describeInstanceStatus),

		"DescribeImages":  on((*call).describeImages),
		"RegisterImage":   on((*call).registerImage),
		"DeregisterImage": on((*call).deregisterImage),

		"CreateKeyPair":    on((*call).createKeyPair),
		"DescribeKeyPairs": on((*call).describeKeyPairs),

		"CreateSecurityGroup":    on((*call).createSecurityGroup),
		"DescribeSecurityGroups": on((*call).describeSecurityGroups),

		"CreateLaunchTemplate":           createLaunchTemplate,
		"DescribeLaunchTemplates":        on((*call).describeLaunchTemplates),
		"DescribeLaunchTemplateVersions": on((*call).describeLaunchTemplateVersions),

		"CreateTags":   on((*call).createTags),
		"DescribeTags": on((*call).describeAllTags),
		"DeleteTags":   on((*call).deleteTags),

		"AllocateAddress":     on((*call).allocateAddress),
		"DescribeAddresses":   on((*call).describeAddresses),
		"AssociateAddress":    on((*call).associateAddress),
		"DisassociateAddress": on((*call).disassociateAddress),
		"ReleaseAddress":      on((*call).releaseAddress),

		"RequestSpotInstances":         on((*call).requestSpotInstances),
		"DescribeSpotInstanceRequests": on((*call).describeSpotInstanceRequests),
		"CancelSpotInstanceRequests":   on((*call).cancelSpotInstanceRequests),
		"DescribeSpotPriceHistory":     on((*call).describeSpotPriceHistory),

		"CreateVolume":    on((*call).createVolume),
		"DescribeVolumes": on((*call).describeVolumes),
		"AttachVolume":    on((*call).attachVolume),
		"DetachVolume":    on((*call).detachVolume),
		"DeleteVolume":    on((*call).deleteVolume),

		"DescribeRegions":           on((*call).describeRegions),
		"DescribeAvailabilityZones": on((*call).describeAvailabilityZones),
		"DescribeInstanceTypes":     on((*call).describeInstanceTypes),
		"DescribeSubnets":           on((*call).describeSubnets),
		"DescribeVpcs":              on((*call).describeVpcs),
	},
	serviceSTS: {
		"GetCallerIdentity": on((*call).getCallerIdentity),
		"AssumeRole":        on((*call).assumeRole),
	},
}

// dispatch finds the action and lets it run, alone.
func (c *call) dispatch(form url.Values) (any, error) {
	root, err := parseQuery(form)
	if err != nil {
		return nil, err
	}
	if c.action == "" {
		return nil, refuse("MissingAction", "The request is missing an action or a required parameter.")
	}
	do, known := actions[c.service][c.action]
	version := root.take("Version")
	if want := map[string]string{serviceEC2: ec2Version, serviceSTS: stsVersion}[c.service]; version != want {
		return nil, refuse("InvalidAction", "The action %s is not valid for the version %q of this API; use %s", c.action, version, want)
	}
	if !known {
		return nil, refuse("InvalidAction", "The action %s is not valid for this web service.", c.action)
	}
	root.take("Action")
	if c.service == serviceEC2 {
		if c.dryRun, err = takeDryRun(root); err != nil {
			return nil, err
		}
	}
	c.fingerprint = fingerprint(form)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetEnded(c.now)
	c.settleVolumes(c.now)
	if c.service == serviceEC2 {
		if err := c.throttle.allow(c.action, root, c.now); err != nil {
			return nil, err
		}
		if err := c.before(); err != nil {
			return nil, err
		}
	}
	out, err := do(c, root)
	if err == nil {
		// Those that change something asked before they did.
		err = c.commit()
	}
	if err == nil && c.service == serviceEC2 {
		err = c.after()
	}
	return out, err
}

func takeDryRun(root *node) (bool, error) {
	var in struct {
		DryRun bool `query:"DryRun"`
	}
	n := root.children["DryRun"]
	if n == nil {
		return false, nil
	}
	delete(root.children, "DryRun")
	err := (&node{children: map[string]*node{"DryRun": n}}).decode(&in)
	return in.DryRun, err
}

// commit is asked by every action after it has found nothing wrong and before
// it changes anything.
func (c *call) commit() error {
	if c.dryRun {
		return refuse("DryRunOperation", "Request would have succeeded, but DryRun flag is set.").
			withStatus(http.StatusPreconditionFailed)
	}
	return nil
}

// write answers the call.
func (c *call) write(w http.ResponseWriter, out any, err error) {
	if err == nil && c.json {
		c.writeJSON(w, http.StatusOK, out)
		return
	}
	if err == nil {
		namespace := ec2Namespace
		if c.service == serviceSTS {
			namespace = stsNamespace
		}
		if o, ok := out.(interface{ setRequestID(string) }); ok {
			o.setRequestID(c.requestID)
		}
		writeXML(w, http.StatusOK, c.requestID, c.action+"Response", namespace, out)
		return
	}
	var f *fault
	if !errors.As(err, &f) {
		c.opts.Logger.Error("the local EC2 endpoint failed at a call", "action", c.action, "error", err)
		f = refuse("InternalError", "An internal error has occurred").withStatus(http.StatusInternalServerError)
	}
	c.mu.Lock()
	c.failures[f.code]++
	c.mu.Unlock()
	if c.json {
		c.writeJSON(w, f.status, jsonFailure{f.code, f.message})
		return
	}
	if c.service == serviceSTS {
		writeXML(w, f.status, c.requestID, "", "", stsFailure{Type: "Sender", Code: f.code, Message: f.message, RequestID: c.requestID})
		return
	}
	writeXML(w, f.status, c.requestID, "", "", ec2Failure{Code: f.code, Message: f.message, RequestID: c.requestID})
}
