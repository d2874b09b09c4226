//go:build linux

package main

import (
	"knockkit/bench/badnet"
)

// networks knocks over bad networks with the real client.
func (b *bench) networks() ([]badnet.Row, error) {
	var rows []badnet.Row
	for _, c := range badnet.Cases() {
		row, err := badnet.Measure(b, c, b.rounds(30, 3))
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
