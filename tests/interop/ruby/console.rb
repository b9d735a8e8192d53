# frozen_string_literal: true

# Evaluates what comes on the standard input, a line of JSON {"code": …, "values": {…}}, and answers in JSON.
require "json"
require "sidekiq"
require "sidekiq/api"
require "sidekiq/processor"
require "sidekiq/scheduled"
require "sidekiq/fetch"
begin
  require "sidekiq-cron"
rescue LoadError
  nil
end
require_relative "jobs"

answers = $stdout.dup
$stdout.reopen($stderr)
answers.sync = true
while (line = $stdin.gets)
  begin
    asked = JSON.parse(line)
    scope = TOPLEVEL_BINDING.dup
    asked["values"].each { |name, value| scope.local_variable_set(name, value) }
    answers.puts(JSON.generate("value" => scope.eval(asked["code"])))
  rescue Exception => e # also SyntaxError: the caller is to hear of it
    answers.puts(JSON.generate("error" => "#{e.class}: #{e.message}"))
  end
end
