package client_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net"

	"github.com/go-sql-driver/mysql"

	"knockkit/client"
)

// shopDatabase returns a database behind a gate. Nothing is sent yet: whenever
// the pool makes a connection, the dialer knocks if it has to.
func shopDatabase(d *client.Dialer, user, password, address string) (*sql.DB, error) {
	mysql.RegisterDialContext("knock", func(ctx context.Context, address string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", address)
	})
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = user, password, "shop"
	c.Net, c.Addr = "knock", address
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("database at %s: %w", address, err)
	}
	return sql.OpenDB(connector), nil
}

// A program's connections to MySQL, each behind a knock when one is needed.
func ExampleDialer() {
	profile, err := client.ReadProfile("/etc/knock/profiles/mysql.toml")
	if err != nil {
		log.Fatal(err)
	}
	db, err := shopDatabase(&client.Dialer{Target: client.Target{Profile: profile}}, "shop", "secret", "db1.example.com:3306")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var orders int
	if err := db.QueryRow("SELECT COUNT(*) FROM orders").Scan(&orders); err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders)
}

// A signed profile's connections: each knock takes a token that no program of this machine has sent.
func ExampleDialer_signed() {
	profile, err := client.ReadProfile("/etc/knock/profiles/mysql.toml")
	if err != nil {
		log.Fatal(err)
	}
	key, err := client.ReadKey("/etc/knock/keys/mysql.key")
	if err != nil {
		log.Fatal(err)
	}
	db, err := shopDatabase(&client.Dialer{Target: client.Target{
		Profile: profile,
		Key:     &key.Key,
		Indexes: &client.IndexFiles{Dir: "/var/lib/shop/tokens"},
	}}, "shop", "secret", "db1.example.com:3306")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); err != nil {
		log.Fatal(err)
	}
}
