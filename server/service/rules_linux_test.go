package service

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	gnft "github.com/google/nftables"

	"knockkit/internal/lab/labtest"
)

// TestTransactionsOfOthersAreNoticedAndOurOwnAreNot has this process change rules over netlink, as it
// loads tokens, and the tool nft do it.
func TestTransactionsOfOthersAreNoticedAndOurOwnAreNot(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	h := labtest.NewHost(t, "server")
	var noticed atomic.Int32
	rules := rulesTask(func() { noticed.Add(1) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return rules.run(ctx, func() { close(rules.ready) }) }) }()
	<-rules.ready
	await := func(n int32) {
		t.Helper()
		labtest.Eventually(t, 10*time.Second, func() error {
			if noticed.Load() < n {
				return errors.New("nothing was noticed")
			}
			return nil
		})
	}
	await(1) // what may have changed before
	for range 3 {
		if err := h.Do(func() error { // on other threads, perhaps
			c, err := gnft.New()
			if err != nil {
				return err
			}
			table := c.AddTable(&gnft.Table{Name: "ours", Family: gnft.TableFamilyINet})
			if err := c.AddSet(&gnft.Set{Table: table, Name: "some", KeyType: gnft.TypeInteger}, []gnft.SetElement{{Key: []byte{0, 0, 0, 1}}}); err != nil {
				return err
			}
			return c.Flush()
		}); err != nil {
			t.Fatal(err)
		}
	}
	labtest.MustRun(t, h, "", "nft", "add table inet theirs")
	await(2)
	labtest.MustRun(t, h, "", "nft", "flush set inet ours some")
	await(3)
	time.Sleep(2 * settle) // what is wrong comes within settle
	if n := noticed.Load(); n != 3 {
		t.Errorf("%d changes were noticed, not the 2 of others and the first look", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
