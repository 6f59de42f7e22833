package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Queue is what Postfix itself says is in its queue.
func (p *Postfix) Queue(ctx context.Context) ([]QueuedMail, error) {
	out, err := p.lab.Run(ctx, "postqueue", "-c", p.Conf, "-j")
	if err != nil {
		return nil, err
	}
	var queue []QueuedMail
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var mail QueuedMail
		if err := decoder.Decode(&mail); errors.Is(err, io.EOF) {
			return queue, nil
		} else if err != nil {
			return nil, fmt.Errorf("read postqueue -j: %w", err)
		}
		queue = append(queue, mail)
	}
}

// Drained waits until the queue holds nothing but mail that was deferred.
func (p *Postfix) Drained(ctx context.Context) error {
	return Until(ctx, func(ctx context.Context) error {
		queue, err := p.Queue(ctx)
		if err != nil {
			return err
		}
		for i := range queue {
			if queue[i].QueueName != "deferred" && queue[i].QueueName != "hold" {
				return fmt.Errorf("message %s is in the %s queue", queue[i].QueueID, queue[i].QueueName)
			}
		}
		return nil
	})
}
