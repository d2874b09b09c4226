package main

import (
	"bytes"
	"os"
	"testing"
)

func TestThePackagedCompletionsAreTheProgramsOwn(t *testing.T) {
	for _, shell := range shells() {
		own, err := completionScripts.ReadFile("completion/knock." + shell)
		if err != nil {
			t.Fatal(err)
		}
		packaged, err := os.ReadFile("../../packaging/completions/knock." + shell)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(own, packaged) {
			t.Errorf("packaging/completions/knock.%s is another: copy it from cmd/knock/completion", shell)
		}
	}
}
