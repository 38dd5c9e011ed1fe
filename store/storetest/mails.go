package storetest

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
)

func testMails(t *testing.T, f *fixture) {
	ctx := t.Context()
	mail := func(id string, due int) dormouse.Mail {
		return dormouse.Mail{
			MessageID: id, Server: "relay", From: "ci@example.org", To: []string{"a@example.org", "b@example.org"},
			Subject: "s", Text: "one\ntwo ☃", CreatedAt: at(0), NextAt: at(due),
		}
	}
	later, soon := mail("later", 5), mail("soon", 1)
	check(t, f.AddMail(ctx, later))
	check(t, f.AddMail(ctx, soon))
	again := mail("soon", 3)
	again.Text = "another"
	check(t, f.AddMail(ctx, again)) // is there already
	mails, err := f.Mails(ctx)
	check(t, err)
	if len(mails) != 2 {
		t.Fatalf("%d mails", len(mails))
	}
	soon.ID, later.ID = mails[0].ID, mails[1].ID
	same(t, "the outbox", mails, []dormouse.Mail{soon, later})

	check(t, f.PostponeMail(ctx, soon.ID, 1, at(9)))
	soon.Attempts, soon.NextAt = 1, at(9)
	mails, err = f.Mails(ctx)
	check(t, err)
	same(t, "postponed", mails, []dormouse.Mail{later, soon})
	check(t, f.RemoveMail(ctx, later.ID))
	check(t, f.RemoveMail(ctx, later.ID))
	mails, err = f.Mails(ctx)
	check(t, err)
	same(t, "removed", mails, []dormouse.Mail{soon})
}
