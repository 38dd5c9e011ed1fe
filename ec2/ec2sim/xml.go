package ec2sim

import (
	"encoding/xml"
	"net/http"
	"time"
)

const (
	ec2Version = "2016-11-15"
	stsVersion = "2011-06-15"

	ec2Namespace = "http://ec2.amazonaws.com/doc/" + ec2Version + "/"
	stsNamespace = "https://sts.amazonaws.com/doc/" + stsVersion + "/"
)

// reply is what every answer of EC2 begins with; the actions' outputs embed it.
type reply struct {
	RequestID string `xml:"requestId"`
}

func (r *reply) setRequestID(id string) { r.RequestID = id }

// set is a list in an answer. It writes its element also when it is empty,
// which the clients tell from a list that is not there.
type set[T any] struct {
	Items []T `xml:"item"`
}

// newSet makes the list that holds f of each.
func newSet[From, T any](from []From, f func(From) T) set[T] {
	s := set[T]{Items: make([]T, len(from))}
	for i, v := range from {
		s.Items[i] = f(v)
	}
	return s
}

// done is the answer of an action that has nothing else to tell.
type done struct {
	reply
	Return bool `xml:"return"`
}

// stamp writes a time as EC2 does; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// ec2Failure is EC2's error answer.
type ec2Failure struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

// stsFailure is STS's.
type stsFailure struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// writeXML answers with a value as an element of the given name; a name of its
// own wins.
func writeXML(w http.ResponseWriter, status int, requestID, name, namespace string, value any) {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	if namespace != "" {
		start.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}}
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.Header().Set("Cache-Control", "no-cache, no-store")
	w.WriteHeader(status)
	// The connection is all that can fail here, and its loss is the client's to
	// notice.
	_, _ = w.Write([]byte(xml.Header))
	enc := xml.NewEncoder(w)
	if name == "" {
		_ = enc.Encode(value)
		return
	}
	_ = enc.EncodeElement(value, start)
}
