package server_test

import (
	"context"
	"fmt"
	"log"

	"knockkit/protocol"
	"knockkit/server"
)

// A program that gates a port, and says who is in. It runs as root.
func ExampleServer() {
	ctx := context.Background()
	mysql, err := server.ReadProfile("/etc/knockd/profiles/mysql.toml")
	if err != nil {
		log.Fatal(err)
	}
	backend, _, err := server.OpenBackend(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	knockd := server.New(backend, server.DefaultSettings())
	if _, err := knockd.Install(ctx, []*protocol.Profile{mysql}, server.InstallOptions{}); err != nil {
		log.Fatal(err)
	}
	status, err := knockd.Status(ctx, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, source := range status.Sources {
		if source.State == server.Open {
			fmt.Println(source.Address, "for", source.Left)
		}
	}
}
