package main

import (
	"context"
	"io"
)

func benchFirstPage(ctx context.Context, out io.Writer) error { return nil }
func benchParser(ctx context.Context, out io.Writer) error    { return nil }
