//go:build linux

package main

import (
	"knockkit/bench/badnet"
)

// networks knocks over bad networks with the real client.
func (b *bench) networks() ([]badnet.Row, error) {
	rounds := 30
	if b.quick {
		rounds = 3
	}
	var rows []badnet.Row
	for _, c := range badnet.Cases() {
		row, err := badnet.Measure(b, c, rounds)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
