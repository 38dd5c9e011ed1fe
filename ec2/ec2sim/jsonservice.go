package ec2sim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// jsonService is one that speaks AWS's JSON protocol, version 1.1, unlike EC2: what
// is asked stands in a header.
type jsonService struct {
	name    string // as signatures have it
	target  string // what the header begins with
	actions map[string]func(*call, []byte) (any, error)
}

const jsonType = "application/x-amz-json-1.1"

var jsonServices = []jsonService{
	{servicePricing, "AWSPriceListService.", pricingActions},
	{serviceQuotas, "ServiceQuotasV20190624.", quotaActions},
}

// jsonServiceOf is the service that a request is to, if it is one of these.
func jsonServiceOf(r *http.Request) (jsonService, bool) {
	for _, of := range jsonServices {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), of.target) {
			return of, true
		}
	}
	return jsonService{}, false
}

// answerJSON carries out a request to such a service, in the steps of
// [Server.answer].
func (s *Server) answerJSON(c *call, r *http.Request, of jsonService) (any, error) {
	c.service, c.json = of.name, true
	c.action = strings.TrimPrefix(r.Header.Get("X-Amz-Target"), of.target)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		return nil, refuse("SerializationException", "The request's body could not be read")
	}
	do, known := of.actions[c.action]
	if known {
		s.count(c.action)
	}
	sig, err := s.authenticate(r, body, c.now)
	if err != nil {
		return nil, err
	}
	switch {
	case sig.service != of.name:
		return nil, refuse("InvalidSignatureException", "Credential should be scoped to correct service: '%s'.", of.name)
	case !known:
		return nil, refuse("UnknownOperationException", "The operation %s is not one of %s's here", c.action, of.name)
	}
	return do(c, body)
}

// writeJSON answers a request to such a service.
func (c *call) writeJSON(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("X-Amzn-Requestid", c.requestID)
	w.WriteHeader(status)
	// Only the connection can fail, and the client sees that.
	_ = json.NewEncoder(w).Encode(out)
}

type jsonFailure struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}
