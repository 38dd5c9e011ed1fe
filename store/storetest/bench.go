package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// Benchmark measures the writes that a busy master makes, and what it reads
// before each launch where there is a budget.
func Benchmark(b *testing.B, open func(testing.TB) *store.DB) {
	start := func(b *testing.B) *fixture {
		db := open(b)
		owner, err := db.AcquireLease(b.Context(), "bench", time.Hour, epoch)
		check(b, err)
		return &fixture{db, owner}
	}
	b.Run("AppendLog64KiB", func(b *testing.B) {
		f := start(b)
		l := f.log(b)
		var lines []dormouse.LogLine
		size := 0
		for i := 0; size < 64<<10-100; i++ {
			next := line(fmt.Sprintf("[%5d] compiling src/module_%d/%s.c", i, i%17, strings.Repeat("f", i%23)), i)
			lines, size = append(lines, next), size+len(next.Text)+1
		}
		b.SetBytes(int64(size))
		for b.Loop() {
			_, err := f.appendLog(b.Context(), l.ID, lines)
			check(b, err)
		}
	})
	b.Run("StartFinishBuild", func(b *testing.B) {
		f := start(b)
		for b.Loop() {
			build := f.start(b, "bench")
			_, _, err := f.FinishBuild(b.Context(), build.ID, store.Ending{Result: dormouse.Success, At: at(2)})
			check(b, err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "builds/s")
	})
	b.Run("SaveWorkerConcurrent", func(b *testing.B) {
		f := start(b)
		var workers atomic.Int64
		b.SetParallelism(32) // workers that change at once
		b.RunParallel(func(pb *testing.PB) {
			name := fmt.Sprint("w", workers.Add(1))
			for pb.Next() {
				if err := f.SaveWorker(b.Context(), store.WorkerRecord{Name: name, State: []byte(`{"phase":"substantiating"}`)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	})
	b.Run("InstancesBetween1000", func(b *testing.B) {
		f := start(b)
		a := f.attempt(b, "w1", "t1")
		a.State, a.SettledAt = dormouse.AttemptAccepted, at(2)
		day := make([]dormouse.Instance, 1000)
		for i := range day {
			day[i] = dormouse.Instance{
				ID: fmt.Sprint("i-", i), AttemptID: a.ID, State: dormouse.InstanceTerminated, LaunchedAt: at(2), EndedAt: at(100 + i),
			}
		}
		check(b, f.settle(b.Context(), a, day))
		for b.Loop() {
			n := 0
			check(b, f.InstancesBetween(b.Context(), at(0), at(9000), func(dormouse.Instance) error { n++; return nil }))
			if n != len(day) {
				b.Fatalf("%d instances", n)
			}
		}
	})
}
