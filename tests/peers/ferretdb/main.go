// A MongoDB-protocol server for the tests: FerretDB with its SQLite backend, embedded because `go install` of
// its own command panics for want of a generated version file.
//
//	ferretdb 127.0.0.1:27117 /path/of/an/existing/folder
//
// It prints one line once it listens, and ends on SIGINT or SIGTERM.
package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: ferretdb ADDRESS FOLDER")
	}
	folder, err := filepath.Abs(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	state := url.URL{Scheme: "file", Path: folder + "/"}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: os.Args[1]},
		Handler:   "sqlite",
		SQLiteURL: state.String(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fmt.Println("FerretDB on", os.Args[1])
	if err := server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
