package master

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/expr"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/internal/listen"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/store"
)

// reconnectGrace is how long a worker whose connection dropped may take to come
// back. Buildbot's worker tries again after at most about a minute at first.
const reconnectGrace = 90 * time.Second

// freedTogether is how long what has come free is gathered before those who wait
// for it are told.
const freedTogether = time.Second

// tellFreed has the workers whose start waits for what something else had try
// again.
func (m *Master) tellFreed() {
	if m.freeing.Swap(true) {
		return
	}
	m.aside.Go(func() {
		select {
		case <-time.After(freedTogether):
		case <-m.ctx.Done():
			return
		}
		m.freeing.Store(false)
		for _, w := range m.everyWorker() {
			if w.latent != nil && w.latent.State().Awaits {
				w.latent.Post(latent.Freed{})
			}
		}
	})
}

func (m *Master) reconnectGrace() time.Duration { return m.scaled(reconnectGrace) }

// member makes a latent worker's part of the fleet. The EC2 account is shared
// by all workers with the same session and region.
func (m *Master) member(ctx context.Context, c config.Worker, name string) (*fleet.Member, error) {
	e := c.EC2
	account, err := m.account(ctx, e.Session, e.Region)
	if err != nil {
		return nil, err
	}
	m.fleet.AddAccount(account)
	spec := LaunchSpec(name, e, account.Region())
	return &fleet.Member{
		Fleet: m.fleet, Worker: name, Cloud: account, Batch: batchOf(c),
		Offerings: func(ctx context.Context) ([]dormouse.Offering, error) { return account.ResolveOfferings(ctx, spec) },
		Render: func(ctx context.Context, o dormouse.Offering, l fleet.Launch) ([]byte, error) {
			data, err := m.userData(c, l)
			if err != nil {
				return nil, err
			}
			tags := map[string]string{ec2.TagLaunch: l.ID, ec2.TagName: c.Name}
			if l.Worker != "" {
				tags[ec2.TagName], tags[ec2.TagWorker], tags[ec2.TagGeneration] = l.Worker, l.Worker, strconv.FormatInt(l.Generation, 10)
			}
			return account.Render(ctx, spec, o, l.Count, data, tags)
		},
		Price: func(ctx context.Context, o dormouse.Offering) (*float64, string, error) {
			price, source, err := priceOf(ctx, account, e, o)
			if err != nil {
				m.log.Warn("the price could not be learned", "offering", o.String(), "error", err)
			}
			return price, source, err
		},
		Errands: m.errands(name, account, spec),
	}, nil
}

// priceOfInstance is what an instance costs as its worker is configured now.
func (m *Master) priceOfInstance(ctx context.Context, i dormouse.Instance) (perHour *float64, source string, err error) {
	w := m.hosted(i.Worker)
	if w == nil || w.latent == nil {
		return nil, "", nil
	}
	d := w.defined()
	account, ok := d.member.Cloud.(*ec2.Account)
	if !ok || account.Key() != i.Account {
		return nil, "", nil
	}
	return priceOf(ctx, account, d.config.EC2, dormouse.Offering{InstanceType: i.InstanceType, Zone: i.Zone, Market: i.Market})
}

// errands are what the instances of a worker with volumes or an address need.
func (m *Master) errands(name string, account *ec2.Account, spec ec2.LaunchSpec) fleet.Errands {
	if !spec.NeedsPreparation() {
		return fleet.Errands{}
	}
	return fleet.Errands{
		Ready: func(ctx context.Context) error {
			free, why, err := account.Free(ctx, spec)
			if err != nil {
				return err
			}
			if !free {
				return dormouse.Errorf(dormouse.Busy, "worker %s cannot be started yet: %s", name, why)
			}
			return nil
		},
		Prepare: func(ctx context.Context, instanceID string) error {
			if err := account.Prepare(ctx, spec, instanceID); err != nil {
				return err
			}
			if spec.ElasticIP != "" {
				m.probe(ctx, name)
			}
			return nil
		},
		Release: func(ctx context.Context, instanceID string) error { return account.Release(ctx, spec, instanceID) },
	}
}

// probeTime is how long a connection may take to answer after its machine's
// address has changed.
const probeTime = 10 * time.Second

// probe ends a worker's connection unless it answers: one that was cut by a
// change of address may look alive for minutes. The worker then attaches anew.
func (m *Master) probe(ctx context.Context, name string) {
	w := m.hosted(name)
	if w == nil {
		return
	}
	conn := w.connection()
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		conn.Close("its machine's address has changed")
	}
}

type accountKey struct {
	session config.Session
	region  string
}

func (m *Master) account(ctx context.Context, s config.Session, region string) (*ec2.Account, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	key := accountKey{s, region}
	if a := m.accounts[key]; a != nil {
		return a, nil
	}
	a, err := ec2.Open(ctx, EC2Session(s), region, ec2.Deployment{ID: m.deployment.ID}, ec2.WithCallCounter(m.metrics.called), ec2.WithRates(Rates(m.now().config)), ec2.WithLogger(m.log))
	if err != nil {
		return nil, err
	}
	m.accounts[key] = a
	return a, nil
}

// Rates are the rates that a configuration gives actions of EC2.
func Rates(c *config.Master) map[string]ec2.Rate {
	out := make(map[string]ec2.Rate, len(c.EC2Rates))
	for action, r := range c.EC2Rates {
		out[action] = ec2.Rate(r)
	}
	return out
}

// LaunchSpec is what a worker's configuration says of its launches, for the EC2
// provider. The region is the account's.
func LaunchSpec(name string, e *config.EC2LatentWorker, region string) ec2.LaunchSpec {
	volumes := make([]ec2.Volume, len(e.Volumes))
	for i, v := range e.Volumes {
		volumes[i] = ec2.Volume(v)
	}
	return ec2.LaunchSpec{
		Worker: name, InstanceTypes: e.InstanceTypes,
		AMI: e.AMI, ValidAMIOwners: e.ValidAMIOwners, ValidAMILocationRegex: e.ValidAMILocationRegex,
		KeypairName: e.KeypairName, SecurityName: e.SecurityName, SecurityGroupIDs: e.SecurityGroupIDs,
		SubnetIDs: e.SubnetIDs, Region: region, Placement: e.Placement,
		SpotInstance: e.SpotInstance, FallbackToOnDemand: e.FallbackToOnDemand,
		MaxSpotPrice: e.MaxSpotPrice, PriceMultiplier: e.PriceMultiplier, ProductDescription: e.ProductDescription,
		InstanceProfileName: e.InstanceProfileName, Tags: e.Tags, BlockDeviceMap: e.BlockDeviceMap,
		AMISSMParameter: e.AMISSMParameter, AMIFilters: e.AMIFilters, LaunchTemplate: ec2.LaunchTemplate(e.LaunchTemplate),
		ElasticIP: e.ElasticIP, Volumes: volumes, AssociatePublicIPAddress: e.AssociatePublicIPAddress,
	}
}

// batchOf names what the launches of a definition's workers have in common, or
// is empty where the request must tell them apart. They are alike when a machine
// proves whose it is by the launch's secret, and is told neither a name nor a
// password nor a generation.
func batchOf(c config.Worker) string {
	if c.EC2.Bootstrap != "" {
		return c.Name
	}
	text, ok := c.EC2.UserData.(*expr.Interpolate)
	if !ok {
		return "" // whatever it is, it is not our agent that learns here who it is
	}
	used := text.Names("worker")
	for _, name := range []string{"name", "password", "generation"} {
		if slices.Contains(used, name) {
			return ""
		}
	}
	if !slices.Contains(used, "secret") {
		return ""
	}
	return c.Name
}

// userData renders a definition's user data for a launch. Only what the
// configuration asks for by util.Interpolate is filled in.
func (m *Master) userData(c config.Worker, l fleet.Launch) ([]byte, error) {
	if c.EC2.Bootstrap != "" {
		master := m.workerURL()
		var ca []byte
		if file := m.now().config.Protocols.CA; file != "" {
			var err error
			if ca, err = listen.ReadPEM(file); err != nil {
				return nil, dormouse.Errorf(dormouse.Configuration, "the certificates by which machines know this master (tls_ca) cannot be read: %w", err)
			}
		}
		return bootstrap.UserData(bootstrap.Options{
			Master: master, FetchURL: "http" + strings.TrimSuffix(strings.TrimPrefix(master, "ws"), "/") + bootstrap.Prefix,
			Secret: launchSecret(m.deployment.Key, l.ID), Checksums: m.binaries.Checksums(), CA: ca,
		})
	}
	if c.EC2.UserData == nil {
		return nil, nil
	}
	facts := map[string]string{
		"master": m.workerURL(), "password": c.Password,
		"secret": launchSecret(m.deployment.Key, l.ID),
	}
	if l.Worker != "" {
		facts["name"], facts["generation"] = l.Worker, strconv.FormatInt(l.Generation, 10)
		facts["secret"] = generationSecret(m.deployment.Key, l.Worker, l.Generation)
	}
	v, err := expr.Render(c.EC2.UserData, expr.Scope{Worker: facts})
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "the user data of worker %s cannot be rendered: %w", c.Name, err)
	}
	text, ok := v.(string)
	if !ok {
		return nil, dormouse.Errorf(dormouse.Configuration, "the user data of worker %s is no text", c.Name)
	}
	return []byte(text), nil
}

// workerURL is where workers reach the master: the port they are awaited on, on
// the interface it is bound to, or, when that is all of them, on the host that
// buildbotURL names.
func (m *Master) workerURL() string {
	host, port, err := net.SplitHostPort(m.WorkerAddr())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if u, err := url.Parse(m.now().config.BuildbotURL); err == nil && u.Hostname() != "" {
			host = u.Hostname()
		}
	}
	scheme := "ws://"
	if m.now().config.Protocols.TLS.On() {
		scheme = "wss://"
	}
	return scheme + net.JoinHostPort(host, port) + "/"
}

// policy is how a latent worker is to be kept.
func (m *Master) policy(name string, d *definition) latent.Policy {
	e := d.config.EC2
	spec := LaunchSpec(name, e, d.member.Cloud.Region())
	return latent.Policy{
		BuildWaitTimeout: e.BuildWaitTimeout, MissingTimeout: e.MissingTimeout,
		CheckInterval: e.CheckInstanceInterval, Grace: m.reconnectGrace(),
		Prepares: spec.NeedsPreparation(), Exclusive: spec.Exclusive(), TimeScale: m.timeScale,
	}
}

// host makes the host of a latent worker, at the state its stored record left.
func (m *Master) host(w *worker, record store.WorkerRecord) error {
	var initial latent.State
	if len(record.State) > 0 {
		if err := json.Unmarshal(record.State, &initial); err != nil {
			return dormouse.Errorf(dormouse.Internal, "the stored state of worker %s cannot be read: %w", w.name, err)
		}
	}
	if initial.Held != 0 && !m.fleet.Has(w.name, initial.Held) {
		initial.Held = 0 // it was seen to end, and nobody was told any more
	}
	w.latent = latent.NewWorker(latent.Options{
		Name: w.name, Policy: m.policy(w.name, w.defined()),
		Provider:      provider{m, w},
		Save:          m.saveState(w.name, func(generation int64) fleet.Cloud { return w.memberOf(generation).Cloud }),
		Until:         m.insist,
		Superseded:    m.lostStore,
		Changed:       func(latent.State) { m.workerChanged(w) },
		Disconnect:    func(generation int64, reason string) { m.disconnect(w, generation, reason) },
		NotifyMissing: func(generation int64, reason string) { m.missing(w, generation, reason) },
		Log:           m.log,
	}, initial)
	w.demand = initial.Live() // as it counts until the first plan
	return nil
}
