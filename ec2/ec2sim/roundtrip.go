package ec2sim

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// RoundTrip answers a client's request without a socket, so that a client in
// this process, or in a synctest bubble, can use the endpoint as its transport
// whatever address it believes to call. It implements [http.RoundTripper].
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:0"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	answer := &answerBuffer{header: make(http.Header), status: http.StatusOK}
	if !s.answers(answer, in) {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		Status:     strconv.Itoa(answer.status) + " " + http.StatusText(answer.status),
		StatusCode: answer.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        answer.header,
		Body:          io.NopCloser(&answer.body),
		ContentLength: int64(answer.body.Len()),
		Request:       r,
	}, nil
}

// answers serves a request, and reports whether it was answered: a scenario
// can cut the connection instead.
func (s *Server) answers(w http.ResponseWriter, r *http.Request) (answered bool) {
	defer func() {
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			panic(cause)
		}
	}()
	s.ServeHTTP(w, r)
	return true
}

// answerBuffer is an [http.ResponseWriter] that keeps the answer.
type answerBuffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerBuffer) Header() http.Header         { return a.header }
func (a *answerBuffer) WriteHeader(status int)      { a.status = status }
func (a *answerBuffer) Write(p []byte) (int, error) { return a.body.Write(p) }
