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

// userARN names the user of an access key.
func (c *call) userARN(accessKeyID string) string {
	return "arn:aws:iam::" + c.opts.AccountID + ":user/" + accessKeyID
}

// getCallerIdentity tells whose credentials a call was signed with: a user of
// the account that is named after its key.
func (c *call) getCallerIdentity(getCallerIdentityInput) (*getCallerIdentityOutput, error) {
	return &getCallerIdentityOutput{
		ARN:     c.userARN(c.accessKeyID),
		UserID:  "AIDADORMOUSELOCAL0000",
		Account: c.opts.AccountID,
	}, nil
}
