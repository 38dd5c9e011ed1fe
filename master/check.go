package master

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/fleet"
)

// What can be said of a configuration before a master starts with it, and is no
// matter of its text: what depends on this machine's AWS configuration, and on what
// things cost.

// Check returns what would keep a master from starting with a configuration, or
// workers from ever being started, and what holds them back for a part of the time.
// It asks nobody.
func Check(ctx context.Context, c *config.Master) (mistakes, warnings []config.Error) {
	budget, refused := fleet.Budget(c.Budget), map[accountKey]bool{}
	for _, w := range c.Workers {
		e := w.EC2
		if e == nil {
			continue
		}
		account, err := ec2.Open(ctx, EC2Session(e.Session), e.Region, ec2.Deployment{ID: "checkconfig"})
		if key := (accountKey{e.Session, e.Region}); err != nil && refused[key] {
			continue // said of another worker
		} else if err != nil {
			refused[key] = true
			mistakes = append(mistakes, mistakeAt(w, fmt.Sprintf("worker %s cannot be started: %v", w.Name, err), "region", "session", "identifier"))
			continue
		}
		if len(e.Placement) > 1 && !strings.HasPrefix(e.Placement, account.Region()) {
			mistakes = append(mistakes, mistakeAt(w, fmt.Sprintf("worker %s: the zone %s is not in %s, which is the session's region", w.Name, e.Placement, account.Region()), "placement"))
		}
		unpriced := account.Unpriced(firstMarket(e))
		if e.PricePerHour == nil && unpriced != nil && budget.Set() {
			mistakes = append(mistakes, mistakeAt(w, fmt.Sprintf("worker %s will never be started, as a budget admits only what it can count: %v", w.Name, unpriced), "region", "session"))
			continue
		}
		if e.PricePerHour == nil || e.SpotInstance && unpriced == nil {
			continue // what that costs only EC2 knows
		}
		switch ever, why := budget.Affords(*e.PricePerHour); {
		case !ever:
			mistakes = append(mistakes, mistakeAt(w, fmt.Sprintf("worker %s will never be started: %s", w.Name, why), "price_per_hour"))
		case why != "":
			warnings = append(warnings, mistakeAt(w, fmt.Sprintf("worker %s: %s", w.Name, why), "price_per_hour"))
		}
	}
	return mistakes, warnings
}

// firstMarket is where a worker's instances are bought if they can be.
func firstMarket(e *config.EC2LatentWorker) dormouse.Market {
	if e.SpotInstance {
		return dormouse.Spot
	}
	return dormouse.OnDemand
}

// mistakeAt is a mistake where the first of the worker's arguments stands that is
// given, else where the worker does.
func mistakeAt(w config.Worker, message string, arguments ...string) config.Error {
	pos := w.Pos
	for _, name := range arguments {
		if at := w.EC2.Pos[name]; at != "" {
			pos = at
			break
		}
	}
	e := config.Error{Message: message}
	parts := strings.Split(pos, ":") // the file's name may have some, too
	if n := len(parts) - 2; n > 0 {
		e.File = strings.Join(parts[:n], ":")
		e.Line, _ = strconv.Atoi(parts[n])
		e.Column, _ = strconv.Atoi(parts[n+1])
	}
	return e
}

// EC2Session is a session of the configuration for the EC2 provider.
func EC2Session(s config.Session) ec2.Session {
	return ec2.Session{
		AccessKeyID: s.Identifier, SecretAccessKey: s.SecretIdentifier, SessionToken: s.SessionToken,
		Profile: s.Profile, Region: s.Region, EndpointURL: s.EndpointURL, RoleARN: s.RoleARN, ExternalID: s.ExternalID,
	}
}

// askTime bounds one question for a price, and maxAsked how many offerings' are
// asked for: enough for each type of a usual list.
const (
	askTime  = 10 * time.Second
	maxAsked = 8
)

// ExaminePrices asks what a worker's instances cost, and says whether the budget
// ever admits one.
func ExaminePrices(ctx context.Context, account *ec2.Account, e *config.EC2LatentWorker, budget fleet.Budget) (out []ec2.Finding) {
	spec := LaunchSpec("", e, account.Region())
	offerings, err := account.ResolveOfferings(ctx, spec)
	if err != nil {
		return nil // said of what the worker names
	}
	found := func(state ec2.FindingState, format string, args ...any) {
		out = append(out, ec2.Finding{What: "budget", State: state, Text: fmt.Sprintf(format, args...)})
	}
	admitted := false
	for _, o := range offerings[:min(len(offerings), maxAsked)] {
		asked, cancel := context.WithTimeout(ctx, askTime)
		price, source, err := priceOf(asked, account, e, o)
		cancel()
		if price == nil {
			text := "the price is not known"
			if err != nil {
				text += " (" + err.Error() + ")"
			}
			if budget.Set() {
				text += ", and a budget admits only what it can count: give price_per_hour, or allow what asks for it"
			} else {
				text += ": what it costs will not be shown"
			}
			found(ec2.FindingWarning, "%s: %s", o, text)
			continue
		}
		switch ever, why := budget.Affords(*price); {
		case !ever:
			found(ec2.FindingWarning, "%s: %s", o, why)
		case why != "":
			admitted = true
			found(ec2.FindingWarning, "%s: %s", o, why)
		default:
			admitted = true
			found(ec2.FindingOK, "%s: $%.4f an hour (%s)", o, *price, source)
		}
	}
	if budget.Set() && !admitted && len(offerings) <= maxAsked {
		for i := range out {
			out[i].State = ec2.FindingWrong // there is nothing else to start
		}
	}
	return out
}

// priceOf is what an offering costs an hour by the configuration, else by AWS. The
// configuration's price is that on demand, which a spot instance never exceeds: it
// stands for that where AWS tells none in US dollars.
func priceOf(ctx context.Context, account *ec2.Account, e *config.EC2LatentWorker, o dormouse.Offering) (*float64, string, error) {
	told := o.Market == dormouse.Spot && account.Unpriced(o.Market) == nil
	if e.PricePerHour != nil && !told {
		return e.PricePerHour, "configuration", nil
	}
	return account.Price(ctx, o, e.ProductDescription)
}
