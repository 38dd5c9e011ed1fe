package ec2sim

type getCallerIdentityInput struct{}

type getCallerIdentityOutput struct {
	ARN     string `xml:"GetCallerIdentityResult>Arn"`
	UserID  string `xml:"GetCallerIdentityResult>UserId"`
	Account string `xml:"GetCallerIdentityResult>Account"`
	// RequestID stands in another place than in EC2's answers.
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

func (o *getCallerIdentityOutput) setRequestID(id string) { o.RequestID = id }

// userARN names who has an access key: a user, or an assumed role.
func (c *call) userARN(accessKeyID string) string {
	if s, ok := c.sessions[accessKeyID]; ok {
		return s.arn
	}
	return "arn:aws:iam::" + c.opts.AccountID + ":user/" + accessKeyID
}

// getCallerIdentity tells whose credentials a call was signed with: a user of
// the account that is named after its key, or a session of a role.
func (c *call) getCallerIdentity(getCallerIdentityInput) (*getCallerIdentityOutput, error) {
	out := &getCallerIdentityOutput{ARN: c.userARN(c.accessKeyID), UserID: "AIDADORMOUSELOCAL0000", Account: c.opts.AccountID}
	if s, ok := c.sessions[c.accessKeyID]; ok {
		out.UserID = s.id
	}
	return out, nil
}
