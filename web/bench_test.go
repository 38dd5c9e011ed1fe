package web_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// benchLines is a log of about 10 MB in lines as compilers print them.
func benchLines() (lines []dormouse.LogLine, size int64) {
	now := time.Now()
	for i := range 100_000 {
		text := fmt.Sprintf("%06d g++ -O2 -Wall -c src/some/directory/file_%d.cc -o build/obj/file_%d.o -I include", i, i, i)
		lines = append(lines, dormouse.LogLine{Stream: dormouse.Stdout, Time: now, Text: text})
		size += int64(len(text)) + 1
	}
	return lines, size
}

// BenchmarkFollowLog is a whole log over the stream, from the service to the
// lines in the client.
func BenchmarkFollowLog(b *testing.B) {
	s := serve(b, nil)
	log := s.aLog(b)
	lines, size := benchLines()
	s.Append(log, lines...)
	s.FinishStep(1, dormouse.Success)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range s.FollowLog(b.Context(), log, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != len(lines) {
			b.Fatalf("%d lines", n)
		}
	}
}

func BenchmarkRawLog(b *testing.B) {
	s := serve(b, nil)
	log := s.aLog(b)
	lines, size := benchLines()
	s.Append(log, lines...)
	b.SetBytes(size)
	for b.Loop() {
		resp := s.request(b, "GET", fmt.Sprintf("/api/v1/logs/%d/raw", log), nil)
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || n != size {
			b.Fatalf("%d bytes, %v", n, err)
		}
	}
}

func BenchmarkThousandBuilds(b *testing.B) {
	s := serve(b, nil)
	if _, err := s.Force(b.Context(), web.ForceRequest{Builder: "linux", Count: 1000, Properties: map[string]any{"a": "b"}}); err != nil {
		b.Fatal(err)
	}
	for id := range int64(1000) {
		s.Finish(s.Start(id+1, "w1", "i-0123456789abcdef0").ID, dormouse.Success)
	}
	b.ReportAllocs()
	for b.Loop() {
		builds, err := s.Builds(b.Context(), web.BuildQuery{Limit: 1000})
		if err != nil || len(builds) != 1000 {
			b.Fatalf("%d builds, %v", len(builds), err)
		}
	}
}
