package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/postgres"
	"github.com/dormouse-ci/dormouse/store/sqlite"
)

// examined is what the EC2 API says of a worker's definition.
type examined struct {
	Worker   string        `json:"worker"`
	Region   string        `json:"region,omitempty"`
	Findings []ec2.Finding `json:"findings"`

	account string // its key, "" when there is none
	config  config.Worker
}

// stranded is a generation that may have an instance in an account or region
// that no worker of the configuration uses.
type stranded struct {
	Worker     string `json:"worker"`
	Generation int64  `json:"generation"`
	Account    string `json:"account"`
	Region     string `json:"region"`
}

// online is what checkconfig --online adds.
type online struct {
	Workers []examined `json:"workers"`
	// Stranded is empty when there is no database, Unread says why one could
	// not be read.
	Stranded []stranded `json:"stranded_generations,omitempty"`
	Unread   string     `json:"database_unread,omitempty"`
}

func (o *online) ok() bool {
	return !slices.ContainsFunc(o.Workers, func(e examined) bool {
		return slices.ContainsFunc(e.Findings, func(f ec2.Finding) bool { return f.State == ec2.FindingWrong })
	})
}

// examineAtOnce is how many definitions are examined at a time: their calls
// share EC2's token buckets, and more would only queue for them.
const examineAtOnce = 4

// askEC2 asks the API about every latent worker, and changes nothing.
func askEC2(ctx context.Context, m *config.Master) *online {
	o := &online{Workers: []examined{}}
	for _, w := range m.Workers {
		if w.EC2 != nil {
			o.Workers = append(o.Workers, examined{Worker: w.Name, config: w})
		}
	}
	accounts := &examinedAccounts{opened: map[config.Session]map[string]*ec2.Account{}}
	var wg sync.WaitGroup
	turns := make(chan struct{}, examineAtOnce)
	for i := range o.Workers {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			o.Workers[i].examine(ctx, accounts, fleet.Budget(m.Budget))
		})
	}
	wg.Wait()
	o.strand(ctx, m.DB)
	return o
}

func (e *examined) examine(ctx context.Context, accounts *examinedAccounts, budget fleet.Budget) {
	c := e.config.EC2
	account, err := accounts.open(ctx, c.Session, c.Region)
	if err != nil {
		e.Region = c.Region
		e.Findings = []ec2.Finding{{What: "session", State: ec2.FindingWrong, Text: err.Error()}}
		return
	}
	e.account, e.Region = account.Key(), account.Region()
	e.Findings = account.Examine(ctx, master.LaunchSpec(e.Worker, c, account.Region()))
	if len(e.Findings) > 0 && e.Findings[0].State != ec2.FindingWrong { // else nobody answers
		e.Findings = append(e.Findings, master.ExaminePrices(ctx, account, c, budget)...)
	}
}

// examinedAccounts shares accounts, and with them rate limits and what has been
// read, as a master does.
type examinedAccounts struct {
	mu     sync.Mutex
	opened map[config.Session]map[string]*ec2.Account
}

func (a *examinedAccounts) open(ctx context.Context, s config.Session, region string) (*ec2.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if account := a.opened[s][region]; account != nil {
		return account, nil
	}
	// Nothing is started, so the deployment's name is never seen.
	account, err := ec2.Open(ctx, master.EC2Session(s), region, ec2.Deployment{ID: "checkconfig"})
	if err != nil {
		return nil, err
	}
	if a.opened[s] == nil {
		a.opened[s] = map[string]*ec2.Account{}
	}
	a.opened[s][region] = account
	return account, nil
}

// strand finds the open generations in accounts that have left the
// configuration. A master that was never started has no database.
func (o *online) strand(ctx context.Context, c config.DB) {
	var db *store.DB
	var err error
	switch c.Driver {
	case "postgresql":
		db, err = postgres.OpenReadOnly(ctx, c.URL)
	case "sqlite":
		db, err = sqlite.OpenReadOnly(ctx, c.Path)
	default:
		return
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var open []dormouse.Generation
	if err == nil {
		open, err = db.Generations(ctx, "", true)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		o.Unread = err.Error()
		return
	}
	for _, g := range open {
		known := g.Account == "" || slices.ContainsFunc(o.Workers, func(e examined) bool { return e.account == g.Account })
		if !known {
			o.Stranded = append(o.Stranded, stranded{g.Worker, g.Number, g.Account, g.Region})
		}
	}
}

// findingArguments are the arguments that can be a finding's cause, where its
// subject has not their name.
var findingArguments = map[string][]string{
	"credentials": {"session", "identifier"},
	"session":     {"session", "identifier"},
	"image":       {"ami", "ami_ssm_parameter", "valid_ami_location_regex", "valid_ami_owners", "ami_filters"},
	"bid":         {"price_multiplier", "max_spot_price", "spot_instance"},
	"launch":      {"instance_type"},
	"budget":      {"price_per_hour", "instance_type"},
	"permissions": {"session", "identifier"},
	"quota":       {"instance_type"},
	"region":      {"region", "placement", "session"},
}

// at is where the cause of a finding stands, "line:column" or "".
func (e *examined) at(f ec2.Finding) string {
	for _, name := range append(slices.Clone(findingArguments[f.What]), f.What) {
		if pos := e.config.EC2.Pos[name]; pos != "" {
			parts := strings.Split(pos, ":")
			return strings.Join(parts[max(len(parts)-2, 0):], ":")
		}
	}
	return ""
}

// onlineRow is a finding, and whose it is: what is the same for several workers
// is said once.
type onlineRow struct {
	workers []string
	region  string
	at      string
	ec2.Finding
}

func (o *online) rows() (rows []onlineRow) {
	for _, e := range o.Workers {
		for _, f := range e.Findings {
			same := slices.IndexFunc(rows, func(r onlineRow) bool { return r.Finding == f && r.region == e.Region })
			if same < 0 {
				rows = append(rows, onlineRow{region: e.Region, at: e.at(f), Finding: f})
				same = len(rows) - 1
			}
			rows[same].workers = append(rows[same].workers, e.Worker)
		}
	}
	return rows
}

// whose names the workers of a row, in a cell's width.
func (o *online) whose(r onlineRow) string {
	const named = 3
	text := strings.Join(r.workers[:min(len(r.workers), named)], ", ")
	switch more := len(r.workers) - named; {
	case len(r.workers) == len(o.Workers) && len(o.Workers) > 1:
		text = "all"
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	if slices.ContainsFunc(o.Workers, func(e examined) bool { return e.Region != r.region }) {
		text += " in " + r.region
	}
	return text
}

// online prints one table for all workers.
func (p *printer) online(o *online) {
	var table [][]string
	for _, r := range o.rows() {
		paint := green
		switch r.State {
		case ec2.FindingWarning:
			paint = yellow
		case ec2.FindingWrong:
			paint = red
		case ec2.FindingOK: // green
		}
		for i, line := range strings.Split(r.Text, "\n") {
			row := []string{"", "", "", "", "  " + plain(line)}
			if i == 0 {
				row = []string{plain(o.whose(r)), plain(r.What), p.paint(paint, string(r.State)), plain(r.at), plain(line)}
			}
			table = append(table, row)
		}
	}
	if len(table) > 0 {
		p.printf("\n")
		p.table([]string{"WORKER", "WHAT", "STATE", "LINE", "FOUND"}, table)
	}
	for _, s := range o.Stranded {
		p.printf("\n%s %s\n", p.paint(yellow, "warning:"), fmt.Sprintf(
			"generation %d of worker %s is still open in account %s, which no worker of the configuration uses: "+
				"keep a worker with that session and region until it is closed, or end its instance by hand",
			s.Generation, plain(s.Worker), plain(s.Account)))
	}
	if o.Unread != "" {
		p.notef("The database was not looked into: %s\n", plain(o.Unread))
	}
}
