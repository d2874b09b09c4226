package iptables

import (
	"testing"

	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }
