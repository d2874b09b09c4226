//go:build linux

package main

import "testing"

const slabinfo = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor>
nf_conntrack          10     20    256   16    1 : tunables    0    0    0
kmalloc-256           10     16    256   16    1 : tunables    0    0    0
kmalloc-rnd-01-96      4     42     96   42    1 : tunables    0    0    0
`

func TestOnlyGeneralCachesAreCountedAndOnlyWhatIsInUse(t *testing.T) {
	got, err := kmallocBytes(slabinfo)
	if want := 10*256 + 4*96; err != nil || got != want {
		t.Errorf("%d bytes (%v), want %d", got, err, want)
	}
}

func TestASlabinfoWithoutGeneralCachesIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"another version": "kmalloc-64 many 10 64",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := kmallocBytes(text); err == nil {
				t.Errorf("%d bytes", got)
			}
		})
	}
}
