package node

import (
	"context"
	"fmt"
	"testing"
)

func TestStrangersTakeNoRoomOfNodesAndTheOldestOfThemEnds(t *testing.T) {
	node := "198.51.100.11"
	d := &door{nodes: networks([]string{node + ":7115"})}
	enter := func(from string) context.Context {
		ctx, _ := d.enter(t.Context(), network(from+":1"))
		return ctx
	}
	ofNode := enter(node)
	var strangers []context.Context
	for i := range maxHandshakes {
		strangers = append(strangers, enter(fmt.Sprint("10.9.0.", i)))
	}
	if err := strangers[0].Err(); err != nil {
		t.Errorf("there is room, and the first one: %v", err)
	}
	other := enter("10.9.1.1") // a node that only connects, say
	again := enter(node)
	for what, ctx := range map[string]context.Context{"the node's": ofNode, "its next": again, "another one": other, "the second stranger's": strangers[1]} {
		if err := ctx.Err(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if strangers[0].Err() == nil || len(d.handshakes) != maxHandshakes+2 {
		t.Errorf("the oldest goes on, of %d", len(d.handshakes))
	}
	first := enter("[2001:db8::1]")
	for i := range maxFromAddress {
		enter(fmt.Sprintf("[2001:db8::a:%x]", i))
	}
	if first.Err() == nil {
		t.Error("a network of IPv6 has as many as it has addresses")
	}
}

func TestAHandshakeThatIsFinishedTakesNoRoom(t *testing.T) {
	d := &door{}
	for range 2 * maxHandshakes {
		ctx, h := d.enter(t.Context(), "10.9.0.1")
		if ctx.Err() != nil {
			t.Fatal("it was not let in")
		}
		d.finished(h, true)
	}
	if len(d.handshakes) != 0 || d.strangers() != 2*maxHandshakes {
		t.Errorf("%d are left, %d were refused", len(d.handshakes), d.strangers())
	}
}
