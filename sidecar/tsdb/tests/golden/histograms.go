//go:build ignore

// Writes histograms.txt beside it: histograms of made-up series as records of Prometheus' WAL, and the chunks that
// Prometheus makes of them. To make it again, with the Prometheus module of that version in go.mod:
//
//	go run histograms.go > histograms.txt
package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
)

const (
	version = "v0.314.0"
	series  = 8
	samples = 30
	// A chunk of so many samples takes no more.
	samplesMax = 11
)

type draft struct {
	r         *rand.Rand
	hint      histogram.CounterResetHint
	schema    int32
	threshold float64
	zero      uint64
	pos, neg  map[int]uint64
	bounds    []float64
	sum       float64
	stale     bool
}

func (d *draft) reset() {
	d.zero, d.sum, d.pos, d.neg = 0, 0, map[int]uint64{}, map[int]uint64{}
}

func (d *draft) step() {
	d.stale = false
	custom := d.schema == histogram.CustomBucketsSchema
	switch n := d.r.Intn(60); {
	case n == 0:
		d.reset()
	case n == 1 && d.hint != histogram.GaugeType:
		d.stale = true
	case n == 2:
		d.schema, d.bounds = int32(d.r.Intn(13)-4), nil
		d.reset()
	case n == 3 && !custom:
		d.threshold = []float64{0, math.Pow(2, -128), 0.001, 1}[d.r.Intn(4)]
	case n == 4:
		d.schema, d.threshold, d.bounds = histogram.CustomBucketsSchema, 0, nil
		b := -1.0
		for range d.r.Intn(8) + 1 {
			b += []float64{0.5, 0.001, 10, math.Pi}[d.r.Intn(4)]
			d.bounds = append(d.bounds, b)
		}
		d.reset()
	case n == 6:
		for i, c := range d.pos {
			if c == 0 {
				delete(d.pos, i)
			}
		}
	case n == 7:
		for i := range d.pos {
			delete(d.pos, i)
			break
		}
	default:
		for range d.r.Intn(6) {
			c := uint64(d.r.Int63n(1 << d.r.Intn(30)))
			if d.r.Intn(4) == 0 {
				c = 0
			}
			i := d.r.Intn(20) - 8
			switch {
			case custom:
				d.pos[(i+20)%(len(d.bounds)+1)] += c
			case i > 8:
				d.zero += c
			case d.r.Intn(3) == 0:
				d.neg[i] += c
			default:
				d.pos[i] += c
			}
			if d.hint == histogram.GaugeType && d.r.Intn(2) == 0 {
				d.pos[(i+20)%(len(d.bounds)+1)] /= 2
			}
		}
		d.sum = d.r.NormFloat64() * 1000
		if d.r.Intn(3) == 0 {
			d.sum = float64(d.r.Intn(100))
		}
	}
}

func side(m map[int]uint64) (spans []histogram.Span, counts []uint64) {
	idx := []int{}
	for i := range m {
		idx = append(idx, i)
	}
	slices.Sort(idx)
	end := 0
	for n, i := range idx {
		if n > 0 && i == end {
			spans[len(spans)-1].Length++
		} else {
			spans = append(spans, histogram.Span{Offset: int32(i - end), Length: 1})
		}
		end = i + 1
		counts = append(counts, m[i])
	}
	return spans, counts
}

func (d *draft) int() *histogram.Histogram {
	if d.stale {
		return &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	}
	h := &histogram.Histogram{
		CounterResetHint: d.hint, Schema: d.schema, ZeroThreshold: d.threshold, ZeroCount: d.zero, Count: d.zero,
		Sum: d.sum, CustomValues: d.bounds,
	}
	for _, s := range []struct {
		m       map[int]uint64
		spans   *[]histogram.Span
		buckets *[]int64
	}{{d.pos, &h.PositiveSpans, &h.PositiveBuckets}, {d.neg, &h.NegativeSpans, &h.NegativeBuckets}} {
		spans, counts := side(s.m)
		*s.spans = spans
		last := uint64(0)
		for _, c := range counts {
			*s.buckets = append(*s.buckets, int64(c-last))
			last = c
			h.Count += c
		}
	}
	if err := h.Validate(); err != nil {
		panic(err)
	}
	return h
}

func (d *draft) float() *histogram.FloatHistogram {
	h := d.int().ToFloat(nil)
	h.Count /= 3
	h.ZeroCount /= 3
	for i := range h.PositiveBuckets {
		h.PositiveBuckets[i] /= 3
	}
	for i := range h.NegativeBuckets {
		h.NegativeBuckets[i] /= 3
	}
	return h
}

func main() {
	fmt.Println("# github.com/prometheus/prometheus " + version + ", by histograms.go")
	for seed := range series {
		r := rand.New(rand.NewSource(int64(seed)))
		d := &draft{r: r, schema: int32(r.Intn(13) - 4)}
		if seed%3 == 2 {
			d.hint = histogram.GaugeType
		}
		d.reset()
		isFloat := seed%2 == 1
		var enc record.Encoder
		var ints []record.RefHistogramSample
		var floats []record.RefFloatHistogramSample
		var out []chunkenc.Chunk
		var app chunkenc.Appender
		t := int64(1_700_000_000_000)
		for range samples {
			d.step()
			t += 15_000 + int64(r.Intn(3))
			ref := chunks.HeadSeriesRef(seed + 1)
			var prev chunkenc.Appender
			if len(out) == 0 || out[len(out)-1].NumSamples() >= samplesMax {
				prev = app
				var c chunkenc.Chunk = chunkenc.NewHistogramChunk()
				if isFloat {
					c = chunkenc.NewFloatHistogramChunk()
				}
				out = append(out, c)
				app, _ = c.Appender()
			}
			var c chunkenc.Chunk
			var recoded bool
			var err error
			if isFloat {
				h := d.float()
				floats = append(floats, record.RefFloatHistogramSample{Ref: ref, T: t, FH: h.Copy()})
				c, recoded, app, err = app.AppendFloatHistogram(prev, 0, t, h, false)
			} else {
				h := d.int()
				ints = append(ints, record.RefHistogramSample{Ref: ref, T: t, H: h.Copy()})
				c, recoded, app, err = app.AppendHistogram(prev, 0, t, h, false)
			}
			if err != nil {
				panic(err)
			}
			switch {
			case recoded:
				out[len(out)-1] = c
			case c != nil:
				out = append(out, c)
			}
		}
		var rec, custom []byte
		if isFloat {
			var left []record.RefFloatHistogramSample
			rec, left = enc.FloatHistogramSamples(floats, nil)
			if len(left) > 0 {
				custom = enc.CustomBucketsFloatHistogramSamples(left, nil)
			}
			if len(left) == len(floats) {
				rec = nil
			}
		} else {
			var left []record.RefHistogramSample
			rec, left = enc.HistogramSamples(ints, nil)
			if len(left) > 0 {
				custom = enc.CustomBucketsHistogramSamples(left, nil)
			}
			if len(left) == len(ints) {
				rec = nil
			}
		}
		for _, b := range [][]byte{rec, custom} {
			if len(b) > 0 {
				fmt.Println("record", hex.EncodeToString(b))
			}
		}
		for _, c := range out {
			fmt.Println("chunk", hex.EncodeToString(c.Bytes()))
		}
	}
}
